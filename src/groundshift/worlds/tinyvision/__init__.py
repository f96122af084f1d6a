"""The small vision world: drawn scenes and clips whose every factor is known, and real images that
ship with scikit-learn. Nothing is downloaded, and nothing here is learned.
"""

from groundshift.worlds.tinyvision.clips import (
    Clip,
    clip,
    film,
)
from groundshift.worlds.tinyvision.files import (
    contact_sheet,
    export,
    to_bytes,
)
from groundshift.worlds.tinyvision.readout import (
    Reading,
    judge,
    judge_motion,
)
from groundshift.worlds.tinyvision.real import (
    blur,
    digits,
    random_crops,
)
from groundshift.worlds.tinyvision.render import (
    BACKGROUNDS,
    COLOURS,
    FACTORS,
    PALETTES,
    PER_OBJECT,
    PLACES,
    RADIUS,
    RGB,
    SHADE,
    SHAPES,
    SIZES,
    SPACING,
    TEXTURES,
    VOCABULARY,
    Scene,
    describe,
    draw,
    flat,
    held_out_pairs,
    parse,
    pixel_centres,
    place_centre,
    render,
    signed_distance,
)
