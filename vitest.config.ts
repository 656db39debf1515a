import { defineConfig } from "vitest/config";
import { findGpuEnvironment } from "./scripts/gpu-env.mjs";

/** How long something takes that comes in the end is no matter of a test: a machine may be slow, or busy. */
const PATIENCE = { testTimeout: 600_000, hookTimeout: 600_000, expect: { poll: { timeout: 120_000 } } };

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.{ts,tsx}"],
          exclude: ["test/**/*.gpu.test.ts", "test/e2e/**", "test/demos/**"],
          ...PATIENCE,
        },
      },
      {
        test: {
          name: "kernels",
          include: ["test/**/*.gpu.test.ts"],
          // The Vulkan loader reads these as the process starts, so they must be there when vitest forks.
          env: findGpuEnvironment().variables,
          pool: "forks",
          // The software driver takes every core by itself: two at a time would only wait for each other.
          fileParallelism: false,
          ...PATIENCE,
        },
      },
      {
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          globalSetup: "test/e2e/site.ts",
          pool: "forks",
          fileParallelism: false,
          ...PATIENCE,
        },
      },
      {
        test: {
          name: "demos",
          include: ["test/demos/**/*.test.ts"],
          globalSetup: "test/e2e/site.ts",
          pool: "forks",
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
