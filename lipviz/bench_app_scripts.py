"""What the browser runs while `lipviz bench app` measures: clocks, and a drag of one pointer move a frame."""

FIRST = """(() => {
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (...message) {
    window.lipvizAsked ??= performance.now();
    return send.apply(this, message);
  };
  const look = () => {
    const title = document.querySelector("h1");
    if (!title || !title.textContent.trim()) return;
    window.lipvizFirst = performance.now(); watch.disconnect();
  };
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true, characterData: true });
  new MutationObserver(() => { window.lipvizMoved = performance.now(); })
    .observe(document, { childList: true, subtree: true, characterData: true });
  const drawn = () => {
    const parts = [...document.querySelectorAll("[data-testid='stMain'] *")], kinds = "svg, canvas, img";
    const found = parts.flatMap((e) => [e, ...(e.shadowRoot ? e.shadowRoot.querySelectorAll(kinds) : [])]);
    const large = (e) => {
      const box = e.getBoundingClientRect();
      return e.matches(kinds) && box.width >= 100 && box.height >= 60;
    };
    if (found.some(large)) window.lipvizPicture = performance.now();
    else requestAnimationFrame(drawn);
  };
  drawn();
  const chart = setInterval(() => {
    if (!document.querySelector(".js-plotly-plot .main-svg")) return;
    window.lipvizChart = performance.now(); clearInterval(chart);
  }, 20);
})()"""
# a page whose clock ticks is never still: after a while it counts as drawn all the same
STEADY = """() => {
  const now = performance.now(), running = document.querySelector("[data-test-script-state='running']");
  return window.lipvizFirst && ((!running && now - window.lipvizMoved > 800) || now - window.lipvizFirst > 20000);
}"""

CHART = """() => {
  const heard = (window.lipvizChart = { pressed: 0, last: 0 }), plot = ".js-plotly-plot";
  const part = (node) => node.nodeType === 1 && (node.closest(plot) || node.querySelector(plot));
  document.addEventListener("keydown", () => { heard.pressed = performance.now(); heard.last = 0; }, true);
  new MutationObserver((records) => {
    const at = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest(plot);
    if (records.some((r) => at(r.target) || [...r.addedNodes].some(part))) heard.last = performance.now();
  }).observe(document.body, { childList: true, subtree: true, attributes: true, characterData: true });
}"""
STILL = """() => new Promise((done) => {
  const heard = window.lipvizChart, from = performance.now();
  const look = () => {
    const now = performance.now();
    if (heard.last && now - heard.last > 500) done(heard.last - heard.pressed);
    else if (now - from > 10000) done(null);
    else setTimeout(look, 20);
  };
  look();
})"""
DRAWN = (
    """() => [...document.querySelectorAll(".js-plotly-plot")].map((p) => JSON.stringify([p.data, p.layout])).join()"""
)

PRESS = """() => {
  const heard = (window.lipvizDrag = { target: null, id: 1, x: 0, y: 0, running: 0 });
  const note = (event) => { heard.target = event.composedPath()[0]; heard.id = event.pointerId; };
  document.addEventListener("pointerdown", (e) => { note(e); heard.x = e.clientX; heard.y = e.clientY; }, true);
  document.addEventListener("gotpointercapture", note, true);
  const app = document.querySelector("[data-test-script-state]");
  if (app) new MutationObserver(() => { heard.running += app.dataset.testScriptState === "running"; })
    .observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
}"""
MOVE = """([moves, reach]) => new Promise((done) => {
  const { target, id, x, y } = window.lipvizDrag, times = [];
  if (!target) return done(null);
  let changed = false, drawn = 0;
  new MutationObserver(() => { changed = true; })
    .observe(target.getRootNode(), { childList: true, subtree: true, attributes: true, characterData: true });
  const frame = (now) => {
    times.push(now); drawn += changed; changed = false;
    if (times.length > moves) return done({ times, drawn });
    const angle = (2 * Math.PI * times.length) / 100;
    target.dispatchEvent(new PointerEvent("pointermove", {
      pointerId: id, pointerType: "mouse", isPrimary: true, button: -1, buttons: 1, bubbles: true, composed: true,
      cancelable: true, clientX: x + reach * Math.sin(angle), clientY: y + reach * (1 - Math.cos(angle)) / 2,
    }));
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""
