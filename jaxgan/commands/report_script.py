"""The script of a report: the slider of the sample history, and the values under the pointer. It fetches nothing."""

SCRIPT = """
"use strict";
(() => {
  const show = (number) => Number.isInteger(number) ? number.toLocaleString("en") : String(+number.toPrecision(5));

  function history(figure) {
    const frames = [...figure.querySelectorAll("img[data-step]")];
    const steps = [...new Set(frames.map((frame) => Number(frame.dataset.step)))].sort((a, b) => a - b);
    const kinds = [...new Set(frames.map((frame) => frame.dataset.kind))];
    const controls = document.createElement("div");
    controls.className = "controls";
    const slider = document.createElement("input");
    Object.assign(slider, {type: "range", min: 0, max: steps.length - 1, step: 1, value: steps.length - 1});
    slider.setAttribute("aria-label", "step of the samples");
    const output = document.createElement("output");
    let kind = kinds[0];
    const draw = () => {
      const step = steps[Number(slider.value)];
      const wanted = (frame) => Number(frame.dataset.step) === step && frame.dataset.kind === kind;
      const some = frames.some(wanted);
      frames.forEach((frame) => {
        frame.hidden = !(some ? wanted(frame) : Number(frame.dataset.step) === step);
      });
      output.textContent = "step " + show(step);
      slider.setAttribute("aria-valuetext", output.textContent);
    };
    slider.addEventListener("input", draw);
    controls.append(slider, output);
    if (kinds.length > 1) {
      const buttons = kinds.map((name) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name + " weights";
        button.addEventListener("click", () => { kind = name; press(); draw(); });
        return button;
      });
      const press = () => buttons.forEach((button, i) => button.setAttribute("aria-pressed", kinds[i] === kind));
      press();
      controls.append(...buttons);
    }
    if (steps.length > 1 || kinds.length > 1) figure.prepend(controls);
    draw();
  }

  function chart(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const svg = figure.querySelector(":scope > svg"), cursor = svg.querySelector(".cursor");
    const readout = figure.querySelector(".readout"), still = readout.textContent;
    const [x0, x1] = data.range, [left, , width] = data.box;
    const all = [...new Set(data.series.flatMap((series) => series.x))].sort((a, b) => a - b);
    let at = all.length - 1;
    const draw = () => {
      const x = all[at];
      const position = left + (x - x0) / (x1 - x0) * width;
      cursor.setAttribute("x1", position);
      cursor.setAttribute("x2", position);
      cursor.setAttribute("visibility", "visible");
      const values = data.series.filter((series) => series.x.includes(x))
        .map((series) => series.name + ": " + show(series.y[series.x.indexOf(x)]));
      readout.textContent = "step " + show(x) + "  \\u2013  " + values.join("; ");
    };
    const leave = () => {
      cursor.setAttribute("visibility", "hidden");
      readout.textContent = still;
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const units = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const x = x0 + (units - left) / width * (x1 - x0);
      at = all.reduce((best, value, i) => Math.abs(value - x) < Math.abs(all[best] - x) ? i : best, 0);
      draw();
    });
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("blur", leave);
    svg.addEventListener("focus", draw);
    svg.addEventListener("keydown", (event) => {
      const moves = {ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10, Home: -all.length, End: all.length};
      if (!(event.key in moves)) return;
      event.preventDefault();
      at = Math.min(all.length - 1, Math.max(0, at + moves[event.key]));
      draw();
    });
  }

  document.querySelectorAll("figure.history").forEach(history);
  document.querySelectorAll("figure.chart").forEach(chart);
  document.body.dataset.ready = "yes";
})();
"""
