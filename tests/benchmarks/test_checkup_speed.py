"""A check-up costs far less than running the model once for every treatment and photo."""

import time

import torch

from mrcnn_steps import load_model, sample
from mrcnn_steps.debug import check_up
from mrcnn_steps.debug.checkup.normalizations import applied_normalization
from mrcnn_steps.debug.checkup.rounds import Ward, look
from mrcnn_steps.debug.checkup.setup import Setup
from mrcnn_steps.debug.checkup.treatments import treatments

NAMES = ("voc_people", "cows", "horses", "coffee", "cat")


@torch.no_grad()
def test_a_check_up_takes_at_most_0_6_of_a_forward_pass_for_each_treatment():
    model, photos = load_model("tiny"), [sample(name) for name in NAMES]
    own = applied_normalization(model)
    before = look(Ward(model, photos, model.class_names, own, 0.5, False), Setup())
    tried = treatments(model, model.class_names, own, Setup(), before.clues)
    # The time of the processor, which neighbors on the machine do not take.
    start = time.process_time()
    for photo in photos:
        model([photo.image / 255])
    forward = time.process_time() - start
    start = time.process_time()
    check_up(model, photos, progress=False)
    spent = time.process_time() - start
    whole = len(tried) * forward
    print(
        f"\ncheck-up {spent:.1f} s; {len(tried)} treatments × {forward:.1f} s forward = "
        f"{whole:.1f} s: {spent / whole:.2f}"
    )
    assert spent <= 0.6 * whole
