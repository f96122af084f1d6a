"""What tuning changed inside a model, concept by concept; and answers changed without tuning.

Khayatan, Shukor, Parekh, Dapogny, Cord: "Analyzing Fine-tuning Representation Shift for Multimodal LLMs Steering
alignment", ICCV 2025, arXiv:2501.03012. In order: concepts, words, shifts, states of the user's models, steering.
"""

from groundshift.probes.reprshift.concepts import Dictionary, decompose, match
from groundshift.probes.reprshift.shift import ReprShift, consistency, held_out, recovery, shift_vectors
from groundshift.probes.reprshift.states import (
    RepresentationShift,
    compare_models,
    pair,
    representation_shift,
    token_states,
)
from groundshift.probes.reprshift.steering import (
    Choice,
    SteeredAnswers,
    SteeringVector,
    choose_vectors,
    fine_vectors,
    steer_model,
    steered_answers,
    steering_vector,
    vector_from_rows,
)
from groundshift.probes.reprshift.words import Unembedding

__all__ = [
    "Choice",
    "Dictionary",
    "ReprShift",
    "RepresentationShift",
    "SteeredAnswers",
    "SteeringVector",
    "Unembedding",
    "choose_vectors",
    "compare_models",
    "consistency",
    "decompose",
    "fine_vectors",
    "held_out",
    "match",
    "pair",
    "recovery",
    "representation_shift",
    "shift_vectors",
    "steer_model",
    "steered_answers",
    "steering_vector",
    "token_states",
    "vector_from_rows",
]
