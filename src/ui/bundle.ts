/** The model and the rows that are served with the page, as the files that the worker takes. */
import { GraftError } from "../base/errors.ts";
import { BUNDLED_MODEL, BUNDLED_ROWS } from "../data/bundled.ts";
import type { Folder } from "../worker/api.ts";

export const BUNDLED_NAME = "graft-toy";

export interface Bundle {
  model(): Promise<Folder>;
  rows(name: string): Promise<File>;
}

/** Fetched from the page's own server, each once. */
export function servedBundle(base = import.meta.env.BASE_URL): Bundle {
  const fetched = new Map<string, Promise<File>>();
  const file = (folder: string, name: string): Promise<File> => {
    const path = `${base}${folder}/${name}`;
    const known = fetched.get(path);
    if (known) return known;
    const asked = fetchFile(path, name);
    fetched.set(path, asked);
    // What failed is asked for again.
    asked.catch(() => fetched.delete(path));
    return asked;
  };
  return {
    async model() {
      const { folder, files } = BUNDLED_MODEL;
      return { label: BUNDLED_NAME, files: await Promise.all(files.map((name) => file(folder, name))) };
    },
    rows: (name) => file(BUNDLED_ROWS, name),
  };
}

async function fetchFile(path: string, name: string): Promise<File> {
  const what = `${path}, a file that belongs to this page, could not be read`;
  const remedy = "Reload the page. If its server was stopped, start it again.";
  let response: Response;
  try {
    response = await fetch(path);
  } catch {
    throw new GraftError("bundle", `${what}: its server does not answer.`, remedy);
  }
  if (!response.ok) throw new GraftError("bundle", `${what}: its server says ${response.status}.`, remedy);
  return new File([await response.blob()], name);
}
