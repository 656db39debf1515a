/** The losses by step, drawn with uPlot: at most once a frame, and never more points than the screen has columns. */
import uPlot from "uplot";
import { type Curves, chartPoints } from "./curves.ts";

const HEIGHT = 260;
/** How far apart the marks on the axis of steps may be: 1, 2, 5, 10, 20, … */
const STEP_TICKS = Array.from({ length: 9 }, (_, power) =>
  [1, 2, 5].map((digit) => digit * 10 ** power),
).flat();

export class LossChart {
  private readonly host: HTMLElement;
  private readonly curves: () => Curves;
  private plot: uPlot;
  private frame: number | undefined;
  private readonly resized: ResizeObserver;
  private readonly recoloured: MutationObserver;

  constructor(host: HTMLElement, curves: () => Curves) {
    this.host = host;
    this.curves = curves;
    this.plot = this.make();
    this.resized = new ResizeObserver(() => {
      this.plot.setSize({ width: host.clientWidth, height: HEIGHT });
      this.invalidate();
    });
    this.resized.observe(host);
    // A canvas hears nothing of stylesheets: light and dark are two charts.
    this.recoloured = new MutationObserver(() => {
      this.plot.destroy();
      this.plot = this.make();
    });
    const theme = host.closest(".radix-themes");
    if (theme) this.recoloured.observe(theme, { attributeFilter: ["class"] });
  }

  /** The curves have grown: they are drawn at the next frame, once. */
  invalidate(): void {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.plot.setData(this.points());
    });
  }

  destroy(): void {
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    this.resized.disconnect();
    this.recoloured.disconnect();
    this.plot.destroy();
  }

  private points(): uPlot.AlignedData {
    // Two points a column, the lowest and the highest, in columns of two pixels: a line is no thinner.
    return chartPoints(this.curves(), Math.max(100, this.host.clientWidth / 2)) as uPlot.AlignedData;
  }

  private make(): uPlot {
    const style = getComputedStyle(this.host);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const number = (_: uPlot, value: number | null) => (value === null ? "—" : value.toFixed(4));
    const axis: uPlot.Axis = {
      stroke: colour("--gray-11"),
      font: `12px ${style.fontFamily}`,
      grid: { stroke: colour("--gray-a4"), width: 1 },
      ticks: { stroke: colour("--gray-a4"), width: 1 },
    };
    const options: uPlot.Options = {
      width: Math.max(1, this.host.clientWidth),
      height: HEIGHT,
      scales: { x: { time: false } },
      cursor: { drag: { x: false, y: false } },
      legend: { live: true },
      // Steps are whole.
      axes: [
        { ...axis, incrs: STEP_TICKS },
        { ...axis, size: 56 },
      ],
      series: [
        { label: "Step", value: (_, value: number | null) => (value === null ? "—" : String(value)) },
        {
          label: "Loss",
          stroke: colour("--gray-a8"),
          width: 1,
          points: { show: false },
          spanGaps: true,
          value: number,
        },
        {
          label: "Smoothed",
          stroke: colour("--accent-9"),
          width: 2,
          points: { show: false },
          spanGaps: true,
          value: number,
        },
        {
          label: "Held out",
          stroke: colour("--amber-11"),
          width: 2,
          points: { show: true, size: 6, fill: colour("--amber-11") },
          spanGaps: true,
          value: number,
        },
      ],
    };
    return new uPlot(options, this.points(), this.host);
  }
}
