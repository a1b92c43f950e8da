"""The command that serves a page on radiographs of one's own, or writes it as a Hugging Face Space."""

from argparse import Namespace

from pneumothorax.commands.networks import chosen_networks
from pneumothorax.errors import UserError


def app(options: Namespace) -> int:
    """Serve the page of a run or of an exported file; with `--build-space` write its folder instead."""
    from pneumothorax.app.server import HERE, check_gradio, find_port, serve

    check_gradio()
    if options.build_space is not None:
        from pneumothorax.app.space import build_space

        if options.model is None:
            raise UserError(
                "--build-space without --model",
                "an exported file, which a Space runs without Keras",
                "run `pneumothorax export` first",
            )
        files = build_space(options.build_space, options.model, max_mb=options.max_mb)
        print(f"{options.build_space}: {', '.join(files)}; `python app.py` there tries it")
        return 0
    find_port(HERE, options.port)  # before the networks are loaded
    networks, decision, card = *chosen_networks(options), ""
    if options.model is not None:
        from pneumothorax.inference.model_file import read_model_file

        card = read_model_file(options.model).card
    serve(networks, decision, card=card, port=options.port, max_mb=options.max_mb, share=options.share)
    return 0
