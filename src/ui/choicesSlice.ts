/** What is trained, on what, and how: with each choice the run is planned anew. */
import { failure } from "../base/errors.ts";
import { readJsonObject } from "../base/read-json.ts";
import { blobSource } from "../formats/sources.ts";
import { isLoraKey } from "../lora/fields.ts";
import { bundledSetOf, FIRST_CHOICES, recommendedFor } from "./material.ts";
import { TYPING_MS } from "./opening.ts";
import { type ChoicesSlice, noRun, type PageState } from "./pageState.ts";
import { changed, partsOf, type Reading, settingsOf } from "./settings.ts";
import type { Slice, SliceParts } from "./slice.ts";

export function choicesSlice({ worker, opens, open }: SliceParts): Slice<ChoicesSlice> {
  return (set, get) => {
    /** What a run file said of how rows are read: other data is read so, too. */
    let readingOfRun: Reading = {};

    return {
      choices: FIRST_CHOICES,
      settings: recommendedFor(FIRST_CHOICES),
      settingsAreOwn: false,
      loraIsOfRun: false,
      mistakes: {},
      targets: undefined,
      facts: undefined,
      dataProblem: undefined,
      choose: (choice) => {
        const { choices, settingsAreOwn, settings, loraIsOfRun, mistakes } = get();
        const isOtherData =
          choice.data && (choice.data.kind !== "written" || choices.data.kind !== "written");
        const fresh = isOtherData ? { reading: readingOfRun, skipsFaulty: false, heldOut: undefined } : {};
        const next = { ...choices, ...fresh, ...choice };
        const before = bundledSetOf(choices);
        const now = bundledSetOf(next);
        const isOther = before !== now || choices.model !== next.model;
        set({
          choices: next,
          settings: isOther && !settingsAreOwn ? recommendedFor(next) : settings,
          mistakes: next.adapter && !loraIsOfRun ? withoutLora(mistakes) : mistakes,
          ...(now && before !== now
            ? { prompts: now.prompts, promptForm: now.kind, promptsAreOwn: false }
            : {}),
          ...(before && !now ? { prompts: [], promptsAreOwn: false } : {}),
          ...(isOtherData ? { facts: undefined, dataProblem: undefined } : {}),
        });
        void open("text" in choice || "ownRows" in choice ? TYPING_MS : 0);
      },
      read: (reading) => {
        set({ choices: { ...get().choices, reading: { ...get().choices.reading, ...reading } } });
        void open(TYPING_MS);
      },
      editData: async (edit) => {
        const result = await worker.editData(edit);
        if (!result.ok) return result;
        set({ facts: result.value });
        void open();
        return undefined;
      },
      dataLines: (first, count) => worker.dataLines(first, count),
      dataRecord: (record) => worker.dataRecord(record),
      set: (section, key, value) => {
        const { [key]: _, ...mistakes } = get().mistakes;
        set({ settings: changed(get().settings, section, key, value), settingsAreOwn: true, mistakes });
        void open(TYPING_MS);
      },
      setLora: (values) => {
        const { settings, mistakes } = get();
        const others = Object.entries(mistakes).filter(([key]) => !Object.hasOwn(values, key));
        set({
          settings: { ...settings, lora: { ...settings.lora, ...values } },
          settingsAreOwn: true,
          mistakes: Object.fromEntries(others),
        });
        void open(TYPING_MS);
      },
      mistake: (key, what) => {
        const { [key]: before, ...others } = get().mistakes;
        if (before === what) return;
        set({ mistakes: what === undefined ? others : { ...others, [key]: what } });
        void open(TYPING_MS);
      },
      useRecommended: () => {
        const settings = recommendedFor(get().choices);
        set({ settings, settingsAreOwn: false, loraIsOfRun: false, mistakes: {} });
        void open();
      },
      readRun: async (file) => {
        // Until it is read nothing can begin.
        const isLatest = opens.begin();
        set({ ...noRun(), phase: "opening", problem: undefined });
        try {
          const json = await readJsonObject(blobSource(file, file.name));
          const { settings, reading: stated } = partsOf(settingsOf(json, file.name));
          // Where it holds nothing out, nothing is.
          const reading = { eval_split: null, ...stated };
          if (!isLatest()) return;
          readingOfRun = reading;
          const loraIsOfRun = Object.keys(settings.lora).length > 0;
          const choices = { ...get().choices, reading };
          set({ choices, settings, settingsAreOwn: true, loraIsOfRun, mistakes: {} });
          await open();
        } catch (thrown) {
          if (isLatest()) set({ phase: "choosing", problem: failure(thrown) });
        }
      },
    };
  };
}

/** What is wrong with settings that count no more is of no account. */
function withoutLora(mistakes: PageState["mistakes"]): PageState["mistakes"] {
  return Object.fromEntries(Object.entries(mistakes).filter(([key]) => !isLoraKey(key)));
}
