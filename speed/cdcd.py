"""Ten negatives at 2,887 codes: what differs from a shared base, against ten full posteriors.

The dense loop is how the published code does it: for each negative a posterior over all codes, and its divergence from
the model's. Ours reads the model's log-probabilities at three codes and two sums.

Run: OMP_NUM_THREADS=1 python speed/cdcd.py
"""

import torch
from timing import seconds

from groundshift.generation.cdcd import Schedule, negative_kl, posterior

B, L, K, T, M = 4, 64, 2887, 80, 10


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = Schedule.linear(T, K)
    log_x0 = torch.log_softmax(torch.randn(B, L, K, generator=generator).double(), -1).requires_grad_()
    z_0 = torch.randint(K, (B, L), generator=generator)
    n = torch.randint(K, (B, M, L), generator=generator)
    s = torch.randint(1, T + 1, (B,), generator=generator)
    z_s = noise.add_noise(z_0, s, generator)

    def ours():
        return negative_kl(noise, posterior(noise, log_x0, z_s, s), z_s, n, s).sum((0, 2))

    def dense():
        log_p = posterior(noise, log_x0, z_s, s)
        outputs = []
        for j in range(M):
            known = torch.full((B, L, K), -70.0, dtype=torch.float64).scatter(-1, n[:, j, :, None], 0.0)
            log_q = posterior(noise, known, z_s, s)
            outputs.append((log_q.exp() * (log_q - log_p)).sum())
        return torch.stack(outputs)

    apart = float((ours() - dense()).detach().abs().max() / dense().detach().abs().max())
    for name, call in (("loss", lambda f: f()), ("loss and gradient", lambda f: f().sum().backward())):
        mine, theirs = seconds(lambda call=call: call(ours)), seconds(lambda call=call: call(dense))
        print(
            f"{name}, {M} negatives, K = {K}: {mine:.3f} s, dense loop {theirs:.3f} s, {theirs / mine:.1f} times"
        )
    print(f"largest relative difference of a negative's term: {apart:.1e}")


if __name__ == "__main__":
    main()
