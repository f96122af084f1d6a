"""Steered Diffusion's cost: linear conditions without a backward pass, against DPS at equal steps.

1. An untrained `UNet2DModel` (32 pixels): steered, three rounds, steered by a network, our DPS.
2. The DPS of deepinv around the same network, if deepinv is installed (it is optional: pip install deepinv).

Run: OMP_NUM_THREADS=1 python speed/steered.py
"""

import time

import torch
from diffusers import DDPMScheduler, UNet2DModel

from groundshift.generation.steered import Loss, Mask, Sampler, denoiser

STEPS, IMAGES, REPEATS = 20, 4, 5


def seconds(functions):
    """Best of a few for each image, in turns, so that a busy moment of the machine hits all alike."""
    taken = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - began)
    return {name: min(values) / IMAGES for name, values in taken.items()}


def main() -> None:
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=32, block_out_channels=(32, 64), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    generator = denoiser((unet, DDPMScheduler(prediction_type="sample")))
    mask = torch.zeros(32, 32)
    mask[8:24, 8:24] = 1
    hole = Mask(torch.zeros(1, 3, 32, 32), mask)
    loss = Loss(lambda x: x.square().flatten(1).mean(1))

    def ours(conditions, **options):
        return lambda: Sampler(STEPS, **options)(generator, IMAGES, conditions)

    samplers = {
        "no condition": ours([]),
        "steered, linear": ours([hole]),
        "steered, linear, 3 rounds": ours([hole], rounds=3),
        "steered by a network": ours([loss]),
        "the same at every second step": ours([loss], every=2),
        "DPS (ours)": ours([hole], method="dps"),
    }
    try:
        import deepinv
    except ImportError as error:
        print(f"deepinv cannot be imported ({error}): its DPS is skipped")
    else:
        samplers[f"DPS (deepinv {deepinv.__version__})"] = _of_deepinv(deepinv, unet, mask)
    calls = {name: _calls(unet, function) for name, function in samplers.items()}
    taken = seconds(samplers)
    for name, value in taken.items():
        print(
            f"{name:32s} {calls[name]:3d} network calls, {value:.3f} s an image, "
            f"{value / taken['steered, linear']:.2f} of steered linear"
        )


def _calls(unet, function):
    """Calls of the network in one run."""
    calls = []
    with unet.register_forward_hook(lambda *_: calls.append(1)):
        function()
    return len(calls)


def _of_deepinv(deepinv, unet, mask):
    """Its DPS around the same network, as a denoiser of images in [0, 1] for a noise of standard deviation sigma."""
    abar = DDPMScheduler().alphas_cumprod
    levels = ((1 - abar) / abar).sqrt()

    class Network(torch.nn.Module):
        def forward(self, x, sigma, **_):
            s = 2 * torch.as_tensor(sigma, dtype=torch.float32).flatten()[0]
            t = int((levels - s).abs().argmin())
            return (unet((2 * x - 1) * abar[t].sqrt(), t).sample + 1) / 2

    physics = deepinv.physics.Inpainting((3, 32, 32), mask=1 - mask.expand(3, 32, 32))
    # So many times make one step less.
    sampler = deepinv.sampling.DPS(Network(), num_steps=STEPS + 1)
    y = physics(torch.full((IMAGES, 3, 32, 32), 0.5))
    return lambda: sampler(y, physics)


if __name__ == "__main__":
    main()
