// node scripts/screenshots.mjs [STEPS]: the page as people see it, at three widths, light and dark, in each of its
// states, into out/screenshots. Trains on the bundled capitals for STEPS steps, or for as many as are recommended.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { preview } from "vite";
import { launchBrowser } from "./browser.mjs";
import { root } from "./install.mjs";

const WIDTHS = [400, 768, 1440];
/** @type {("light" | "dark")[]} */
const SCHEMES = ["light", "dark"];
const out = join(root, "out/screenshots");
const steps = process.argv[2];

/**
 * @param {import("playwright-core").Page} page
 * @param {string} state
 */
async function shoot(page, state) {
  console.log(state);
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      // The chart takes its new width at the next frame.
      await page.waitForTimeout(300);
      const [wide = 0, height = 0] = await page.evaluate(() => {
        const { scrollWidth, scrollHeight } = document.documentElement;
        return [scrollWidth - innerWidth, scrollHeight];
      });
      // As high as the page: what sticks to an edge of the window is then where it belongs.
      await page.setViewportSize({ width, height });
      if (wide > 0) console.log(`${state} at ${width} px is ${wide} px too wide.`);
      await page.screenshot({ path: join(out, `${state}-${width}-${colorScheme}.png`) });
    }
  }
}

/**
 * To another view: until it is there, a field found by its name may be the other's.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} name
 */
async function view(page, name) {
  await page.getByRole("tab", { name }).click();
  await page.getByRole("tabpanel", { name }).waitFor();
}

/**
 * @param {import("playwright-core").Page} page
 * @param {string | RegExp} words
 */
const says = (page, words) => page.getByRole("status").filter({ hasText: words }).waitFor();

/** Questions and answers under column names of their own, one line broken. */
function priceTable() {
  const lines = Array.from({ length: 40 }, (_, i) => {
    const more = ", and nothing more of it".repeat(i % 6);
    return `${i},What does number ${i} cost?,"It costs ${i} thalers${more}."`;
  });
  return `No.,What guests ask,What we say\n${lines.join("\n")}\n41,broken\n`;
}

const vite = join(root, "node_modules/vite/bin/vite.js");
const built = spawnSync(process.execPath, [vite, "build", "--logLevel", "warn"], {
  cwd: root,
  stdio: "inherit",
});
if (built.status !== 0) process.exit(1);
mkdirSync(out, { recursive: true });
const server = await preview({ root, configFile: join(root, "vite.config.ts"), logLevel: "warn" });
const address = server.resolvedUrls?.local[0] ?? "";

const without = await launchBrowser({ args: ["--disable-gpu", "--disable-software-rasterizer"] });
const refused = await without.newPage();
await refused.goto(address);
await refused.getByRole("alert").waitFor();
await shoot(refused, "no-webgpu");
await without.close();

const browser = await launchBrowser();
const page = await browser.newPage();
page.setDefaultTimeout(3_600_000);
await page.goto(address);
await says(page, "Ready to train.");
await shoot(page, "idle");
const modules = page.getByRole("textbox", { name: "Modules", exact: true });
await modules.fill("q_proj, v_prj, down_proj");
await page.getByText('"v_prj" matches no module').first().waitFor();
await page.getByRole("button", { name: "Show each layer" }).click();
await shoot(page, "modules");
await page.getByRole("button", { name: "Use what is recommended" }).click();
await says(page, "Ready to train.");
await page.getByRole("radio", { name: "Your own" }).click();
await page.getByLabel(/^Data files/).setInputFiles({
  name: "prices.csv",
  mimeType: "text/csv",
  buffer: Buffer.from(priceTable()),
});
await page.getByText("Say what the columns mean").waitFor();
await shoot(page, "mapping");
await page.getByLabel("User says").fill("{What guests ask}");
await page.getByLabel("Assistant says").fill("{What we say}");
await page.getByRole("button", { name: "Use these columns" }).click();
await page.getByRole("button", { name: /^Go on with/ }).waitFor();
await shoot(page, "faulty");
await page.getByRole("button", { name: /^Go on with/ }).click();
await says(page, "Ready to train.");
await view(page, "Data");
await page
  .getByText(/tokens, \d+ of them learnt/)
  .first()
  .waitFor();
const cut = page.getByRole("slider", { name: /^Cut at/ });
await cut.focus();
for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowLeft");
await says(page, "Ready to train.");
await shoot(page, "rows");
await view(page, "Train");
await page.getByRole("button", { name: "Use what is recommended" }).click();
await page.getByRole("radio", { name: "Capitals of sixty countries" }).click();
await says(page, "Ready to train.");
if (steps) await page.getByLabel("Steps", { exact: true }).fill(steps);
await says(page, "Ready to train.");
await page.getByRole("button", { name: "Train", exact: true }).click();
await page.locator("[data-drawn=true] canvas").waitFor();
await says(page, "Training…");
await page.waitForFunction(() => Number(document.querySelector("progress")?.value) >= 3);
await shoot(page, "training");
await says(page, /^Done/);
await page.getByRole("button", { name: "Score again" }).waitFor();
await shoot(page, "done");
await view(page, "Adapters");
await page.getByRole("button", { name: "Add the adapter trained here" }).click();
await page.getByText("How far it takes each weight").click();
await page.getByRole("table", { name: "How far it takes each weight" }).waitFor();
await page.getByRole("button", { name: "Layer 5" }).click();
await page.getByRole("button", { name: "Ask", exact: true }).click();
await page.getByRole("button", { name: "Ask", exact: true }).waitFor();
await shoot(page, "adapters");
await view(page, "Train");
await page.getByRole("radio", { name: "Your own" }).click();
await page.getByLabel("Text", { exact: true }).fill('{"text": "a row"}\n{"tex": "no row"}');
await page.getByRole("alert").waitFor();
await shoot(page, "error");
await browser.close();
await server.close();
