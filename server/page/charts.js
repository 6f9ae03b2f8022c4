/* Plots on uPlot, which is fetched when the first one is drawn. What a plot shows is told as text beside
 * it, in a table. */
import {el, followWidth} from "./dom.js";

export const INK = "#1f2937", SOFT = "#4b5563", RULE = "#e5e7eb", BLUE = "#0072b2", ORANGE = "#d55e00", BAND = "rgba(0, 114, 178, 0.13)";
const FONT = "12px system-ui, -apple-system, 'Segoe UI', 'Hiragino Sans', 'Noto Sans CJK JP', 'Yu Gothic UI', sans-serif";

let loading;

function uplot() {
    loading ??= new Promise((resolve, reject) => {
        const here = name => new URL(name, import.meta.url).href;
        document.head.append(el("link", {rel: "stylesheet", href: here("uPlot.min.css")}),
            el("script", {src: here("uPlot.iife.min.js"), onload: () => resolve(window.uPlot), onerror: () => {
                loading = undefined;
                reject(new Error("uPlot"));
            }}));
    });
    return loading;
}

export function axis(label, more = {}) {
    return {label, font: FONT, labelFont: `600 ${FONT}`, stroke: SOFT, labelSize: 22, size: 44, gap: 6, labelGap: 2,
        grid: {stroke: RULE, width: 1}, ticks: {stroke: RULE, width: 1, size: 5}, ...more};
}

/* A plot in an element that follows the width of the page. `options` are uPlot's, without sizes. */
export function plot(label, height, options, data) {
    const host = el("div", {class: "plot", role: "img", "aria-label": label});
    const start = async () => {
        const Plot = await uplot(), fitting = width => Math.max(240, Math.min(options.width_max ?? 2000, width));
        const drawn = new Plot({legend: {show: false}, cursor: {show: false}, ...options, width: fitting(host.clientWidth), height}, data, host);
        followWidth(host, width => {
            if (fitting(width) !== drawn.width)
                drawn.setSize({width: fitting(width), height});
        });
    };
    /* After it has a place in the page, and so a width. */
    requestAnimationFrame(() => start().catch(error => host.replaceChildren(error.message)));
    return host;
}

/* Lines across the plotted area, drawn by hooks: from (x1, y1) to (x2, y2) in the units of the axes. */
export function segment(u, [x1, y1], [x2, y2], {color = SOFT, width = 1, dash = []} = {}) {
    const {ctx} = u, x = value => u.valToPos(value, "x", true), y = value => u.valToPos(value, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.beginPath();
    ctx.strokeStyle = color;
    ctx.lineWidth = width * devicePixelRatio;
    ctx.setLineDash(dash.map(part => part * devicePixelRatio));
    ctx.moveTo(x(x1), y(y1));
    ctx.lineTo(x(x2), y(y2));
    ctx.stroke();
    ctx.restore();
}

/* A word at a place of the plot. */
export function caption(u, text, x, y, align = "left") {
    const {ctx} = u;
    ctx.save();
    ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
    ctx.fillStyle = INK;
    ctx.textAlign = align;
    ctx.textBaseline = "top";
    ctx.fillText(text, x, y);
    ctx.restore();
}
