"""`scheduler/scheduler_config.json` of a diffusers folder <-> our process and its default sampler."""

from pathlib import Path
from typing import Any

from malmoi.config import parse
from malmoi.errors import CheckpointError
from malmoi.files import write_json
from malmoi.formats.folder import read_object
from malmoi.image.samplers import Sampler
from malmoi.image.schedule import Prediction, Process, Schedule

FILE = "scheduler_config.json"
VERSION = "0.30.0"
"""Of diffusers, whose form is written."""
CLASSES: dict[Sampler, str] = {
    "ddpm": "DDPMScheduler", "ddim": "DDIMScheduler", "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler", "dpmpp_2m": "DPMSolverMultistepScheduler",
    "lcm": "LCMScheduler",
}  # fmt: skip
_PREDICTIONS: dict[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
# What a class takes for a setting that its file lacks.
_BETAS: dict[str, Any] = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "steps_offset": 0}
_LINSPACE = {**_BETAS, "timestep_spacing": "linspace", "clip_sample": None, "set_alpha_to_one": True}
_LEADING = {**_LINSPACE, "timestep_spacing": "leading", "clip_sample": True}
_LCM = {**_LEADING, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "DDPMScheduler": _LEADING, "DDIMScheduler": _LEADING, "LCMScheduler": _LCM,
    "PNDMScheduler": {**_LEADING, "clip_sample": None, "set_alpha_to_one": False},
}  # fmt: skip
# What diffusers' pipelines set, whatever the file says. Early files say otherwise, or nothing, and latents are not
# between -1 and 1.
_SET = {"steps_offset": 1, "clip_sample": False}
_ONLY_OFF = ("thresholding", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas")


def read_process(folder: Path) -> tuple[Process, Sampler]:
    """The process of a folder, and the sampler that it names; DPM-Solver++ 2M where that is none of ours.

    Raises CheckpointError for a process that is not supported.
    """
    path = folder / FILE
    settings = read_object(path)
    name, prediction = str(settings.get("_class_name")), settings.get("prediction_type", "epsilon")
    if "flow" in name.lower() or "EDM" in name or prediction not in _PREDICTIONS:
        raise CheckpointError(f"{path}: {name} that predicts {prediction!r}: not supported")
    for key in _ONLY_OFF:
        if settings.get(key):
            raise CheckpointError(f"{path}: {key} {settings[key]!r}: not supported")
    known = {key: settings[key] for key in Schedule.model_fields if settings.get(key) is not None}
    if known.get("variance_type") not in (None, "fixed_small", "fixed_large"):
        raise CheckpointError(f"{path}: variance_type {known['variance_type']!r:.60}: not supported")
    stored = parse(Schedule, {**_DEFAULTS.get(name, _LINSPACE), **known}, str(path))
    schedule = parse(Schedule, stored.model_dump() | _SET, str(path))
    samplers = {kind: sampler for sampler, kind in CLASSES.items()}
    return Process("ddpm", _PREDICTIONS[prediction], schedule), samplers.get(name, "dpmpp_2m")


def write_schedule(folder: Path, process: Process, sampler: Sampler) -> str:
    """Write the file for diffusers; returns the name of the class there."""
    name = CLASSES[sampler]
    theirs = {ours: theirs for theirs, ours in _PREDICTIONS.items()}
    # Settings that another sampler needs stay in the file, as in diffusers' own folders.
    left_out = {"shift"} | ({"variance_type"} if sampler != "ddpm" else set())
    left_out |= {"original_inference_steps", "timestep_scaling"} if sampler != "lcm" else set()
    settings = process.schedule.model_dump(mode="json", exclude=left_out, exclude_none=True)
    prediction = {"prediction_type": theirs[process.prediction]}
    write_json(folder / FILE, {"_class_name": name, "_diffusers_version": VERSION, **prediction, **settings})
    return name
