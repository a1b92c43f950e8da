"""The peer of benchmarks/gpu.py: segmentation_models_pytorch.Unet("xception") trained as its users would.

channels_last, autocast to float16, GradScaler, fused Adam, cuDNN's own search for the fastest kernels; eager,
or with network and loss under `torch.compile`. Needs no `pneumothorax`.
"""

import argparse
import time
from typing import Any

from gpu_bare import WARM, Bench, rate_sizes, time_rates
from gpu_process import Answer, SkippedError, report, wait_for_device


def make_peer(options: argparse.Namespace) -> tuple[Answer, Bench]:
    import segmentation_models_pytorch as smp
    import torch

    if options.device == "gpu" and not torch.cuda.is_available():
        raise SkippedError("torch sees no GPU; --device cpu measures the CPU")
    gpu = options.device == "gpu"
    device = torch.device("cuda" if gpu else "cpu")
    imported = time.time()
    report("building")
    recipe = options.peer_recipe
    torch.manual_seed(0)
    network = smp.Unet(
        "xception",
        encoder_weights=None,
        in_channels=3,
        classes=1,
        aux_params={"classes": 1, "pooling": "avg"} if recipe["head"] else None,
    )
    network = network.to(device, memory_format=torch.channels_last).train()
    parameters = list(network.parameters())
    adam = torch.optim.Adam(parameters, recipe["learning_rate"], fused=True)
    half = options.precision != "float32" if options.precision else gpu
    scaler = torch.amp.GradScaler(device.type, enabled=half and gpu)
    narrow = torch.float16 if gpu else torch.bfloat16
    axes = (0, 1, 2, 3) if recipe["reduction"] == "batch" else (1, 2, 3)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    data: list[Any] = []

    def use_batch(batch: int) -> None:
        shape = (batch, 1, options.size, options.size)
        images = torch.rand(batch, 3, *shape[2:], device=device).mul(2).sub(1)
        masks = (torch.rand(shape, device=device) < 0.1).float()
        data[:] = [
            images.to(memory_format=torch.channels_last),
            masks,
            torch.ones(batch, 1, device=device),
        ]

    def forward(images: Any, masks: Any, labels: Any) -> Any:
        with torch.autocast(device.type, narrow, enabled=half):
            outputs = network(images)
        logits, label = outputs if recipe["head"] else (outputs, None)
        logits = logits.float()
        probability = torch.sigmoid(logits)
        overlap = (masks * probability).sum(axes)
        dice = (2 * overlap + recipe["smooth"]) / (masks.sum(axes) + probability.sum(axes) + recipe["smooth"])
        loss = entropy(logits, masks) - torch.log(dice).mean()
        return loss if label is None else loss + 0.1 * entropy(label.float(), labels)

    call = torch.compile(forward) if options.side == "torch-compiled" else forward

    def step() -> Any:
        adam.zero_grad(set_to_none=True)
        loss = call(*data)
        scaler.scale(loss).backward()
        if recipe["clip"]:
            scaler.unscale_(adam)
            torch.nn.utils.clip_grad_norm_(parameters, recipe["clip"])
        scaler.step(adam)
        scaler.update()
        return loss.detach()

    use_batch(options.batch)
    built = time.time()
    report("compiling")
    waited = wait_for_device() if call is forward else 0.0
    torch.backends.cudnn.benchmark = call is forward
    step().item()
    done = time.time()
    if call is not forward:  # compiled without the device to itself; the kernels are chosen with it
        wait_for_device()
        torch.backends.cudnn.benchmark = True
    report("warming up")
    for _ in range(1 + WARM):
        step().item()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    first = done - built - waited
    name = torch.cuda.get_device_name() if gpu else "CPU"
    versions = {"torch": torch.__version__, "segmentation_models_pytorch": smp.__version__}
    parts = {"import": imported - options.began, "build": built - imported, "compile": first}
    ready = {"device": name, "versions": versions, "first_step": {**parts, "all": sum(parts.values())}}

    def find_peak() -> int | None:
        return int(torch.cuda.max_memory_allocated()) if gpu else None

    def measure_rates() -> Answer:
        side, count, kind = rate_sizes(gpu=gpu)
        matrix = torch.randn(side, side, device=device, dtype=getattr(torch, kind))
        vector = torch.zeros(count, device=device)
        copy = torch.empty_like(vector)
        return time_rates(
            lambda: matrix @ matrix, lambda: copy.copy_(vector), lambda x: x.view(-1)[0].item(), side, count
        )

    return ready, Bench(step, lambda loss: loss.item(), find_peak, measure_rates, use_batch)
