"""What surrounds every page: its title and icon, the navigation, the warm-up of the server.

Streamlit runs this file as a script for every visitor, so it imports nothing heavy at once.
"""

import gc
import importlib
import sys
from pathlib import Path
from threading import Thread

import streamlit as st

from lipviz import ahead

HERE = Path(__file__).resolve().parent
PAGES = HERE.parent / "pages"

# what pages import, apart from streamlit itself; the libraries first
HEAVY = (
    *("numpy", "pandas", "pyarrow", "plotly.graph_objects", "plotly.subplots", "torch", "PIL.Image"),
    *("lipviz.pictures", "lipviz.samples", "lipviz.figures", "lipviz.figures_spectra", "lipviz.figures_condition"),
    *("lipviz.falsehoods", "lipviz.falsehoods_words", "lipviz.figures_false"),
    *("lipviz.tries", "lipviz.batch"),
    *("lipviz.playground", "lipviz.worker", "lipviz.condition", "lipviz.lessons"),
    *("lipviz.history", "lipviz.jobs_words"),
    *("lipviz.protocols", "lipviz.published", "lipviz.standings"),
    *("lipviz.radii", "lipviz.gallery"),
)

# section -> file -> title; the first page of all is the one the site opens with
SECTIONS: dict[str, dict[str, str]] = {
    "": {"home.py": "lipviz"},
    "Learn": {
        "lessons.py": "Lessons",
        "condition.py": "The condition",
        "discs.py": "Gershgorin discs",
        "playground.py": "Playground",
    },
    "Look": {"spectra.py": "Spectra", "radii.py": "Certified radii", "false.py": "False certificates"},
    "Do": {"train.py": "Train", "certify.py": "Certify an image"},
    "Compare": {"compare.py": "Compare"},
}

# on the dark theme, text in the primary colour (a chosen option, the value of a slider) has a contrast of 3.7 only:
# the colour of links has 7
LEGIBLE = """<style>
[data-selected="true"] p, [data-testid="stSliderThumbValue"] p { color: #64b4fb; }
</style>"""


def shell() -> None:
    """Draw the frame, then run the page that the address names."""
    warm_up()
    pages = {
        section: [
            # an address that follows the file, not the title, outlives a change of words
            st.Page(PAGES / file, title=title, url_path=Path(file).stem, default=file == "home.py")
            for file, title in files.items()
        ]
        for section, files in SECTIONS.items()
    }
    page = st.navigation(pages, position="top")
    title = page.title if page.title == "lipviz" else f"{page.title} · lipviz"
    st.set_page_config(
        title,
        page_icon=HERE / "favicon.png",
        layout="wide",
        # an entry of our own brings up the menu, and with it the choice between light and dark
        menu_items={"About": "**lipviz**: see, train and certify 1-Lipschitz neural networks."},
    )
    with ahead.picture_first(page.url_path):
        if st.context.theme.type == "dark":
            st.html(LEGIBLE)
        page.run()


@st.cache_resource(show_spinner=False)
def warm_up() -> Thread:
    """Import the heavy libraries once per server, beside the first visit and not in front of it."""
    thread = Thread(target=_import_heavy, name="warm-up", daemon=True)
    thread.start()
    return thread


def _import_heavy() -> None:
    if gc.get_freeze_count():  # done already, at the start of the server
        return
    for name in HEAVY:
        importlib.import_module(name)
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)  # visitors share the cores; a single operation may not take them all
    # every tensor operation lets go of the interpreter; with thirty visitors the default of 5 ms to get it back adds up
    sys.setswitchinterval(0.0005)
    # a full collection stops all visitors: with the freeze it need not walk through all of torch
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    shell()
