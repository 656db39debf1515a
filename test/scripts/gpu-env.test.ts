import { mkdirSync, mkdtempSync, realpathSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { browserFolders, swiftShaderVariables } from "../../scripts/gpu-env.mjs";

function plant(...files: string[]): string {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "graft-gpu-")));
  for (const file of files) {
    mkdirSync(join(root, file, ".."), { recursive: true });
    writeFileSync(join(root, file), "");
  }
  return root;
}

describe("the software driver", () => {
  it("is looked for where Playwright and Puppeteer keep their browsers, newest first", () => {
    const home = plant(
      ".cache/ms-playwright/chromium-1100/chrome-linux64/chrome",
      ".cache/ms-playwright/chromium-1200/chrome-linux64/chrome",
      ".cache/puppeteer/chrome/linux-140.0.1/chrome-linux64/chrome",
    );
    const below = browserFolders(home, {}).filter((folder) => folder.startsWith(home));
    expect(below.map((folder) => folder.slice(home.length + 1))).toEqual([
      ".cache/ms-playwright/chromium-1200/chrome-linux64",
      ".cache/ms-playwright/chromium-1100/chrome-linux64",
      ".cache/puppeteer/chrome/linux-140.0.1/chrome-linux64",
    ]);
    const moved = browserFolders("/nowhere", {
      PLAYWRIGHT_BROWSERS_PATH: join(home, ".cache/ms-playwright"),
    });
    expect(moved).toContain(join(home, ".cache/ms-playwright/chromium-1200/chrome-linux64"));
  });

  it("is taken from the first folder that has it", () => {
    const root = plant("a/chrome", "b/vk_swiftshader_icd.json", "c/vk_swiftshader_icd.json");
    const found = swiftShaderVariables(["/nowhere", join(root, "a"), join(root, "b"), join(root, "c")], true);
    const icd = join(root, "b/vk_swiftshader_icd.json");
    expect(found).toEqual({ VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd });
  });

  it("comes with the browser's Vulkan loader where the system has none", () => {
    const root = plant("a/vk_swiftshader_icd.json", "b/vk_swiftshader_icd.json", "b/libvulkan.so.1");
    const found = swiftShaderVariables([join(root, "a"), join(root, "b")], false);
    expect(found?.VK_ICD_FILENAMES).toBe(join(root, "b/vk_swiftshader_icd.json"));
    expect(found?.LD_LIBRARY_PATH?.split(":")[0]).toBe(join(root, "b"));
  });

  it("is not there where no folder has it", () => {
    expect(swiftShaderVariables([plant("a/chrome")], true)).toBeUndefined();
    expect(swiftShaderVariables([plant("vk_swiftshader_icd.json")], false)).toBeUndefined();
  });
});
