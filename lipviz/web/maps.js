// The plane as several networks see it: maps in a grid with one probe, one range of colours, a number below each.
// The maps, and all that they share, are those of the playground (ui_canvas.BORROWED).
//
// For tests, the <div class="lv"> has a property `maps`: state(), spot(i, [x, y]).

class MapGrid extends Maps {
  constructor(root) {
    super(root);
    this.discs = false; // of the points: they would hide small maps
    set(this.pg, { class: "pg mp" });
    const bar = make(this.pg, "div", { class: "lv-bar", role: "toolbar", "aria-label": "View" });
    this.viewButtons(bar);
    make(bar, "button", { type: "button", text: "Figure", title: "the maps as SVG", onclick: () => this.figure("maps") });
    this.places = make(this.pg, "div", { class: "mp-maps" });
    this.below = make(this.pg, "div", {});
    this.live = this.sayer();
    root.maps = {
      state: () => ({ probe: this.probe, most: this.most, view: this.view, maps: this.maps.map((map) => ({ name: map.net.name, radius: map.state?.radius, claim: map.state?.claim, proved: this.proved(map) ? map.net.proof.radius : null, text: map.told?.textContent, filled: Boolean(map.grid) })) }),
      spot: (i, [x, y]) => { const map = this.maps[i], plane = map.plane(), at = map.svg.getBoundingClientRect(); return [at.left + plane.x(x), at.top + plane.y(y)]; },
    };
  }
  update(component) {
    const { data } = component, before = this.look;
    this.data = data; this.look = data.look; this.component = component;
    this.hear(data);
    const fresh = data.points.x !== this.drawn;
    if (fresh) {
      this.xs = doubles(data.points.x); this.y = Uint8Array.from(doubles(data.points.y)); this.drawn = data.points.x;
      this.area = this.frame();
    }
    this.places.style.maxWidth = `${340 * data.nets.length}px`;
    this.fill(data.nets, fresh || before?.dark !== this.look.dark);
    for (const [i, map] of this.maps.entries()) { // one legend for all: they have one range
      map.back.style.touchAction = "pan-y";
      if (!i && map.legend.parentElement !== this.below) this.below.replaceChildren(map.legend);
      map.legend.hidden = i > 0;
      map.told = map.told ?? make(map.box, "div", { class: "pg-read numbers" });
    }
    this.mode(); this.probePaint(); this.pointPaint(); this.fieldPaint();
  }
  titled(net) { return net.name; }
  tell() { for (const map of this.maps) if (map.state && map.told) this.figures(map, map.told.firstChild ?? make(map.told, "div", { "aria-hidden": "true" }), ""); }
  /** A press on a map takes the probe there, in all of them; a finger may also scroll the page. */
  down(event, map) {
    if (event.button) return;
    const { back } = map, before = this.probe, known = this.moved, go = (e) => this.move(map.plane().at(e, map.svg)), mouse = event.pointerType !== "touch";
    back.setPointerCapture(event.pointerId);
    if (mouse) { event.preventDefault(); go(event); }
    back.onpointermove = go;
    back.onpointerup = back.onpointercancel = (e) => {
      back.onpointermove = back.onpointerup = back.onpointercancel = null;
      if (e.type === "pointercancel") { this.putBack(before, known); return; }
      go(e); this.dropped();
    };
  }
}

export default function (component) { picture(component, MapGrid); }
