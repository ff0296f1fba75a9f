"""The checks as one table, and how they are carried out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.conformance import encoders, settings, steps, trainings
from bench.conformance.subject import FULL, Scale, Subject
from bench.conformance.verdicts import Check, Result
from bench.contract import Method
from bench.engine.conditions import Conditions

CHECKS: tuple[Check, ...] = (
    Check(
        "settings-explained",
        "every setting says where its value comes from",
        "nobody can tell a paper's number from a guess",
        "put a string under the field: paper section, official file and line, or 'chosen'",
        settings.are_explained,
    ),
    Check(
        "settings-closed",
        "settings are frozen, and unknown ones are refused",
        "a misspelt option would be ignored, and a setting could change after the key was made",
        "derive Config from MethodConfig or TrainingConfig, and leave its model_config alone",
        settings.are_closed,
    ),
    Check(
        "settings-survive",
        "settings come back from JSON as they were",
        "a worker process and a stored key would have other settings than the plan",
        "use fields that pydantic writes to JSON and reads back: numbers, texts, enums, tuples",
        settings.survive_a_process,
    ),
    Check(
        "settings-build",
        "the settings for each data set build an encoder for it",
        "a sweep would fail after hours on data that nobody had tried",
        "correct the entry of PAPER or QUICK, or the architecture that `encoder` chooses",
        settings.build_an_encoder,
    ),
    Check(
        "settings-scale",
        "lengths in epochs shrink with a shorter schedule",
        "a warm-up or a milestone would outlast the training",
        "annotate the field with EpochLength, and do not override `with_epochs`",
        settings.scale_with_the_epochs,
    ),
    Check(
        "trains",
        "a short training ends with an encoder",
        "there is nothing to judge, and most of the checks below say nothing",
        "correct the line that raised; `pretrain` returns a bench.contract.Encoder",
        trainings.ends,
    ),
    Check(
        "shapes",
        "features are [B, d], the same d on every batch-norm route",
        "no head can be fitted on features of another shape",
        "flatten what `encode` returns, and name an existing route in `active_route`",
        encoders.has_one_shape,
    ),
    Check(
        "finite",
        "weights and features are finite, the encoder in eval mode",
        "every number after it would be NaN, or depend on the batch",
        "look for a division by zero or a rate that is too high; leave the mode to the stage",
        encoders.is_finite,
    ),
    Check(
        "state-round-trip",
        "stored weights load strictly into `encoder(profile)` and give the same features",
        "the store keeps weights alone: what is judged would be another network",
        "build the same modules in `encoder` and in `pretrain`; keep what counts in parameters and buffers",
        encoders.survives_the_store,
    ),
    Check(
        "batch-mates",
        "features of an image do not depend on the others of its batch",
        "accuracy would depend on how test images are batched",
        "use running statistics in eval mode, and nothing computed over the batch",
        encoders.ignores_batch_mates,
    ),
    Check(
        "encoding-leaves-no-trace",
        "encoding changes nothing",
        "an attack of a thousand passes would judge a thousand networks",
        "update statistics and counters in `step`, never in `encode`",
        encoders.stays_as_it_is,
    ),
    Check(
        "gradients-reach-input",
        "gradients of the features reach every image's pixels",
        "attacks would fail for want of a gradient, and robustness would look higher than it is",
        "take detach(), no_grad() and rounding out of `encode`",
        encoders.passes_gradients,
    ),
    Check(
        "features-differ",
        "images have features of their own",
        "a collapsed encoder has chance accuracy, which is hard to trace afterwards",
        "look at the loss's negatives, or at a dead last layer",
        encoders.tells_images_apart,
    ),
    Check(
        "one-normalisation",
        "pixels in [0, 1] are normalised once",
        "eps would be another radius than the one that tables name",
        "normalise inside the encoder alone, with the deviation of pixels in [0, 1]",
        encoders.normalises_once,
    ),
    Check(
        "pixels",
        "the training hands pixels in [0, 1] to the encoder",
        "training would see other images than the judgement",
        "leave views, scaling and normalisation to `bench.data.views` and the encoder",
        steps.is_given_pixels,
    ),
    Check(
        "same-seed",
        "the same seed gives the same weights, whatever else draws random numbers",
        "no result could be repeated, nor a seed compared between methods",
        "draw from batch.generator(NAME) and run.randomness.generator(NAME)",
        trainings.repeats_itself,
    ),
    Check(
        "other-seed",
        "another seed gives other weights",
        "five seeds would count one run five times",
        "take every generator from `run.randomness`, none with a fixed seed",
        trainings.follows_the_seed,
    ),
    Check(
        "resume",
        "a training that goes on from a checkpoint equals one that was never stopped",
        "an interruption would change the numbers",
        "keep all that training changes in parameters and buffers of the network that `build` returns",
        trainings.resumes,
    ),
    Check(
        "no-label",
        "no class reaches `pretrain`",
        "tables would compare supervised with self-supervised numbers",
        "use the images alone, or declare what it sees: `labelled_pretraining`",
        trainings.sees_no_label,
    ),
    Check(
        "attack-budget",
        "perturbed images lie within eps of their own, and in [0, 1]",
        "the method would train against another threat than it names",
        "use bench.attacks.pgd.ascend, or clamp to the ball, then to [0, 1]",
        steps.stays_inside_the_ball,
    ),
    Check(
        "attack-trace",
        "attacks leave weights, gradients, modes and running statistics as they were",
        "training would depend on how often it is attacked",
        "attack inside `with undisturbed(net)`, or declare a setting `attack_mode`",
        steps.leaves_no_trace,
    ),
    Check(
        "all-trained",
        "a gradient reaches every parameter that may learn, and the optimiser holds it",
        "a branch that the loss does not see, or the optimiser does not hold, stays as it was initialised",
        "freeze it, leave it out, or hand it to the optimiser",
        trainings.moves_everything,
    ),
    Check(
        "loss-falls",
        "steps on one batch lower its loss",
        "the method would not learn what it says",
        "look for a wrong sign, a detached branch, or a rate that is too high",
        trainings.learns,
    ),
    Check(
        "costs",
        "a step takes the passes that `passes` declares",
        "budgets, plans and tables would state another cost",
        "count forward passes, backward passes to the input and full ones, per image of the batch",
        steps.costs_what_it_declares,
    ),
)


def conform(
    method: type[Method[Any]], options: Mapping[str, Any] | None = None, scale: Scale = FULL
) -> Iterator[Result]:
    """What each check says of `method`, one after another, on one CPU thread.

    Args:
        method: the class.
        options: laid over its settings.
        scale: how much the checks look at.

    Raises:
        BenchError: if the method cannot be made with these options.
    """
    subject = Subject(method, options or {}, scale)
    subject.make()
    for check in CHECKS:
        with Conditions().hold():
            result = check.result(subject)
        yield result
