"""The parts of the page as HTML: pictures inside it, findings, messages. All text is escaped."""

import base64
from collections.abc import Sequence
from html import escape

import cv2
import numpy as np
import numpy.typing as npt

from pneumothorax.app.cases import COLOURS, Case, Picture, View
from pneumothorax.inference.decision import Decision
from pneumothorax.report.page_text import counted, printable

RESEARCH = "Research use only, not a diagnosis"
BANNER = f'<div role="note"><strong>{RESEARCH}.</strong> No medical device.</div>'
EMPTY = '<p class="quiet">Findings appear here. The images stay on this machine.</p>'
ELSEWHERE = '<p class="quiet">Findings appear here.</p>'
_QUALITY = 92  # of JPEG


def data_uri(content: bytes, kind: str) -> str:
    """Return content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def encode_png(mask: npt.NDArray[np.bool_]) -> bytes:
    """Return a mask as the bytes of a PNG, 0 and 255."""
    return cv2.imencode(".png", mask.astype(np.uint8) * np.uint8(255))[1].tobytes()


def show(case: Case, view: View) -> str:
    """Return pictures, findings and warnings of one case."""
    return (
        f'<div class="pictures">{_figure("Outline", view.outline, _caption(case, view))}'
        f"{_figure('Heat map', view.heat, _scale())}</div>"
        f'<dl class="findings">{"".join(map(_row, _facts(case, view)))}</dl>{_warnings(view.warnings)}'
    )


def verdict(view: View) -> str:
    """Return the finding in two words."""
    return "pneumothorax" if view.findings.pneumothorax else "none found"


def show_messages(lines: Sequence[str]) -> str:
    """Return lines about files that could not be taken; '' without one."""
    if not lines:
        return ""
    items = "".join(f"<li>{escape(printable(line))}</li>" for line in lines)
    return f'<ul class="messages" role="alert">{items}</ul>'


def about(name: str, decision: Decision, card: str) -> str:
    """Return the description of networks and rule; a card's text is shown as it is, without its marks."""
    score = (
        "not tuned: no score"
        if decision.score is None
        else f"mean Dice {decision.score:.3f} on {counted(decision.images, 'held-out image')}"
    )
    text = f"<p><strong>{escape(printable(name))}</strong>. Rule: {escape(str(decision.rule))} ({score}).</p>"
    return text + (f'<pre class="card">{escape(card)}</pre>' if card else "")


def _figure(title: str, picture: Picture, caption: str) -> str:
    ok, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not ok:
        raise ValueError("the picture could not be encoded")
    source = data_uri(content.tobytes(), "image/jpeg")
    return f'<figure><img alt="{title}" src="{source}"><figcaption>{title}{caption}</figcaption></figure>'


def _caption(case: Case, view: View) -> str:
    if not view.findings.pneumothorax:
        return " (empty: no pneumothorax found)"
    return (
        "" if case.radiograph.view is not None else " (the left of a frontal picture is the patient's right)"
    )


def _scale() -> str:
    """Return the colours of the heat map, from 0 to 1."""
    row = np.linspace(0, 255, 9).astype(np.uint8)[None]
    colours = cv2.applyColorMap(row, COLOURS)[0, :, ::-1].tolist()
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in colours)
    return (
        f': probability 0 <span class="scale" style="background: linear-gradient(90deg, {stops})"></span> 1'
    )


def _facts(case: Case, view: View) -> list[tuple[str, str]]:
    found, radiograph = view.findings, case.radiograph
    height, width = view.mask.shape
    pixels = f"{found.area_pixels:,} pixels"
    area = pixels if found.area_cm2 is None else f"{found.area_cm2:.1f} cm², {pixels}"
    about_mask = [
        (
            "Side",
            {"": "–"}.get(
                found.side, f"patient's {found.side}" if found.side in ("left", "right") else found.side
            ),
        ),
        ("Area", f"{area} ({found.share:.1%} of the image)"),
        ("Parts", f"{found.regions:,}"),
    ]
    kind = "image-level" if case.image_probability is not None else "highest of the map"
    return [
        ("Finding", "pneumothorax" if found.pneumothorax else "no pneumothorax found"),
        ("Probability", f"{found.probability:.3f} ({kind})"),
        *(about_mask if found.pneumothorax else []),
        (
            "Image",
            f"{width:,} × {height:,} pixels" + (f", view {radiograph.view}" if radiograph.view else ""),
        ),
        ("File", printable(case.name)),
    ]


def _row(fact: tuple[str, str]) -> str:
    return f"<div><dt>{escape(fact[0])}</dt><dd>{escape(fact[1])}</dd></div>"


def _warnings(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(printable(line))}</li>" for line in lines)
    return f'<div class="warnings"><strong>Warnings</strong><ul>{items}</ul></div>'
