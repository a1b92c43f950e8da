"""The page itself, in Gradio: layout and events. The only module that imports it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from pneumothorax.app import html
from pneumothorax.app.cases import Case, look
from pneumothorax.app.desk import MOST_FILES, Desk
from pneumothorax.errors import UserError
from pneumothorax.report.page_text import printable, shorten

CSS = Path(__file__).parent / "web" / "app.css"
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "DejaVu Sans Mono", "monospace"]
SWEEP_SECONDS, UPLOAD_SECONDS = 60, 600  # how often, and what age, Gradio deletes files that nobody took
# The browser makes the file of an address that holds it: nothing is written on the server.
_SAVE = """(name, address) => {
  if (address) { const a = document.createElement("a"); a.href = address; a.download = name; a.click(); }
  return [name, ""];
}"""


def make_theme() -> gr.Theme:
    """Return a theme of fonts that every system has: nothing is fetched from elsewhere."""
    theme = gr.themes.Default(font=FONT, font_mono=MONO, primary_hue="blue")
    grey: dict[str, Any] = {}  # Gradio's own is too pale to be read
    for name in ("body_text_color_subdued", "block_info_text_color", "block_label_text_color"):
        grey |= {name: "#4b5563", f"{name}_dark": "#b6bdc8"}
    return theme.set(**grey)


def make_page(desk: Desk, title: str, card: str, uploads: Path, *, local: bool) -> gr.Blocks:
    """Build the page.

    Args:
        desk: The work behind it.
        title: Name of the run.
        card: Description of the networks, as plain text.
        uploads: Folder in which Gradio keeps uploaded files.
        local: Whether it runs on the user's own machine, for what it says of the images.
    """
    empty = html.EMPTY if local else html.ELSEWHERE
    with gr.Blocks(
        title=f"pneumothorax: {title}", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, UPLOAD_SECONDS)
    ) as page:
        gr.HTML(html.BANNER, elem_id="research")
        gr.HTML("<h1>Pneumothorax in chest radiographs</h1>")
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                files = gr.File(
                    label=f"DICOM, PNG or JPEG; up to {MOST_FILES}, {desk.max_mb:g} MB each",
                    file_count="multiple",
                    height=170,
                    elem_id="files",
                )
                messages = gr.HTML(elem_id="messages")
                picker = gr.Radio(label="Image", choices=[], visible=False, elem_id="picker")
                threshold = gr.Slider(
                    0.01,
                    0.99,
                    desk.decision.rule.threshold,
                    step=0.005,
                    label="Threshold",
                    info="Outline where the probability is above it",
                    elem_id="threshold",
                )
                with gr.Row():
                    mask = gr.Button("Save mask (PNG)", interactive=False, size="sm", elem_id="save-mask")
                    seg = gr.Button("Save DICOM SEG", interactive=False, size="sm", elem_id="save-seg")
            with gr.Column(scale=5, min_width=280):
                result = gr.HTML(empty, elem_id="result")
        with gr.Accordion("About these networks", open=False):
            gr.HTML(html.about(title, desk.decision, card))
        name, address = gr.Textbox(visible=False), gr.Textbox(visible=False)

        def take(paths: list[str] | None, at: float, request: gr.Request) -> list[Any]:
            # Gradio lets no other path through; these files are deleted, so it is asked twice.
            own = [path for path in map(Path, paths or []) if path.resolve().is_relative_to(uploads)]
            cases, lines = desk.take(_key(request), own)
            _sweep(uploads)
            shown = _show(desk, cases, 0, at) if cases else empty
            return [None, html.show_messages(lines), _pick(desk, cases, 0, at), shown, *_buttons(cases, 0)]

        def pick(number: int | None, at: float, request: gr.Request) -> list[Any]:
            cases = desk.cases(_key(request))
            if not cases or number is None or not 0 <= number < len(cases):
                return [gr.skip(), empty, *_buttons([], 0)]
            return [_pick(desk, cases, number, at), _show(desk, cases, number, at), *_buttons(cases, number)]

        def save(maker: Callable[[Case, float], tuple[str, str]]) -> Callable[..., list[Any]]:
            def make(number: int | None, at: float, request: gr.Request) -> list[Any]:
                cases = desk.cases(_key(request))
                if number is None or not 0 <= number < len(cases):
                    return ["", "", html.show_messages(["the images are gone; drop them again"])]
                try:
                    return [*maker(cases[number], at), ""]
                except UserError as error:
                    return ["", "", html.show_messages([str(error)])]

            return make

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        shows = [picker, result, mask, seg]
        files.upload(take, [files, threshold], [files, messages, *shows], api_visibility="private")
        picker.input(pick, [picker, threshold], shows, **quiet)
        threshold.input(pick, [picker, threshold], shows, trigger_mode="always_last", **quiet)
        for button, maker in ((mask, desk.mask_file), (seg, desk.seg_file)):
            made = button.click(save(maker), [picker, threshold], [name, address, messages], **quiet)
            made.then(None, [name, address], [name, address], js=_SAVE, **quiet)

        def leave(request: gr.Request) -> None:
            desk.forget(_key(request))

        page.unload(leave)
    return page


def _key(request: gr.Request) -> str:
    """Return the key of a browser's session."""
    return str(request.session_hash)


def _show(desk: Desk, cases: list[Case], number: int, threshold: float) -> str:
    case = cases[number]
    return html.show(case, look(case, desk.rule(threshold)))


def _pick(desk: Desk, cases: list[Case], number: int, threshold: float) -> Any:
    """Return the list of cases, each with its finding; hidden for a single one."""
    rule = desk.rule(threshold)
    few = len(cases) < 2
    choices = [
        (f"{shorten(printable(case.name))}: {html.verdict(look(case, rule))}", at)
        for at, case in enumerate(cases)
    ]
    return gr.Radio(choices=choices, value=number if cases else None, visible=not few)


def _buttons(cases: list[Case], number: int) -> list[Any]:
    """Return the states of the two buttons."""
    is_dicom = bool(cases) and cases[number].reference is not None and _can_write_seg()
    return [gr.Button(interactive=bool(cases)), gr.Button(interactive=is_dicom)]


def _can_write_seg() -> bool:
    try:
        import pneumothorax.segmentation.dicom_objects  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _sweep(uploads: Path) -> None:
    """Remove the folders of uploads that were read, and the empty files that Gradio makes of each."""
    for path in uploads.iterdir():
        try:
            if path.is_dir():
                path.rmdir()  # not while there is a file in it
            elif path.stat().st_size == 0:
                path.unlink()
        except OSError:
            continue
