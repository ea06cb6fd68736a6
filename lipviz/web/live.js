// A plotly chart that is updated in place: Plotly.react keeps what the visitor did to it, as long as uirevision stays.

let library = null;

/** Begin to load Plotly, without reading it yet. */
function fetched(address) {
  if (!library && !document.querySelector(`link[href="${address}"]`)) make(document.head, "link", { rel: "preload", as: "script", href: address });
}

/** Plotly itself, loaded once for the whole visit. */
function plotly(address) {
  if (!library) library = new Promise((good, bad) => {
    const script = make(document.head, "script", { src: address });
    script.onload = () => (window.Plotly ? good(window.Plotly) : bad(new Error("no Plotly in the file")));
    script.onerror = () => bad(new Error("no answer"));
  });
  return library;
}

/** The page has come to rest: reading plotly takes a second, in which nothing else is drawn. */
function rested() {
  const idle = window.requestIdleCallback ?? ((done) => setTimeout(done));
  return new Promise((done) => setTimeout(() => idle(done, { timeout: 1000 }), 500));
}

class Live {
  constructor(root) {
    this.root = root;
    this.held = null; // the data that the picture is held at
    this.bar = make(root, "div", { class: "bar", role: "group", "aria-label": "While the training goes on", hidden: "" });
    this.follow = make(this.bar, "button", { type: "button", text: "Follow", onclick: () => this.hold(false) });
    this.freeze = make(this.bar, "button", { type: "button", text: "Freeze", onclick: () => this.hold(true) });
    this.said = make(this.bar, "span");
    this.words = make(root, "p", { class: "wait", text: "Drawing …" });
    this.frame = make(root, "div", { class: "frame" });
    this.place = make(this.frame, "div", { role: "figure" });
    // plotly listens to the window; a column can change its width without it
    this.watch = new ResizeObserver(framed(() => { if (this.drawn && this.place.offsetWidth) window.Plotly.Plots.resize(this.place); }));
    this.watch.observe(root);
  }
  update(component) {
    const data = component.data;
    const other = this.held && this.held.figure.layout.uirevision !== data.figure.layout.uirevision;
    if (other || (this.held && this.held.dark !== data.dark)) this.held = null; // another run, other colours: follow again
    this.data = data;
    set(this.place, { "aria-label": data.alt });
    this.frame.style.minHeight = `${data.figure.layout.height}px`; // the page below does not jump when the chart comes
    if (!this.drawn) this.outline(data);
    this.show();
  }
  hold(still) { this.held = still ? this.held ?? this.data : null; this.show(); }
  show() {
    const { now } = this.data, still = this.held;
    set(this.bar, { hidden: now || still ? null : "" });
    set(this.follow, { "aria-pressed": still ? "false" : "true" });
    set(this.freeze, { "aria-pressed": still ? "true" : "false" });
    set(this.said, { text: still ? `Held at ${still.now}; the training ${now ? `is at ${now}` : "is over"}.` : now });
    this.draw(still ?? this.data);
  }
  /** What can be seen of the figure before plotly has come. */
  outline({ figure, look, script }) {
    this.sketch?.remove();
    this.sketch = sketch(this.frame, figure, look);
    if (this.sketch) { this.words.remove(); fetched(script); }
  }
  async draw({ figure, config, script }) {
    if (this.shown === figure) return;
    this.shown = figure;
    try {
      if (this.sketch) await rested();
      const Plotly = await plotly(script);
      if (this.shown !== figure) return; // a later update was faster
      const drawing = Plotly.react(this.place, { ...figure, config });
      this.drawn = true; this.words.remove(); this.sketch?.remove(); this.sketch = null;
      await drawing;
    } catch (error) {
      console.warn("lipviz: the chart could not be drawn:", error.message);
      const without = this.sketch ? "This is a sketch, the chart" : "The chart";
      set(this.words, { text: `${without} could not be drawn: reload the page. Its numbers are in the file under Data.`, role: "status" });
      if (!this.sketch) this.frame.style.minHeight = "0";
      if (!this.drawn) this.root.insertBefore(this.words, this.frame);
    }
  }
  /** Also of a chart that waits for plotly still: it is not drawn any more. */
  close() { this.shown = null; this.watch.disconnect(); if (this.drawn) window.Plotly.purge(this.place); }
}

export default function (component) {
  picture(component, Live);
  const parent = component.parentElement;
  // also called for an update that another one overtook, while the picture is still on the page
  return () => { if (!parent.isConnected && instances.has(parent)) { instances.get(parent).close(); instances.delete(parent); } };
}
