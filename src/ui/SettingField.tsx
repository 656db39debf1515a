import { Switch, TextField } from "@radix-ui/themes";
import { useId, useState } from "react";
import { useStore } from "zustand";
import type { StoreApi } from "zustand/vanilla";
import { type Json, sameJson } from "../base/json.ts";
import { EVALUATED_SHARE } from "./material.ts";
import { isOfAdapter, type PageState } from "./pageState.ts";
import { type FormField, labelOf, parseValue, settingOf, writeValue } from "./settings.ts";
import { faultWords } from "./TargetsPanel.tsx";

interface SettingFieldProps {
  readonly store: StoreApi<PageState>;
  readonly field: FormField;
  /** Its description stands beside it; otherwise it is a tooltip. */
  readonly explains?: boolean;
}

/** One setting, in the form that its kind asks for. */
export function SettingField({ store, field, explains }: SettingFieldProps) {
  const { section, key, control, description, choices } = field;
  const value = useStore(store, ({ settings }) => settingOf(settings, field));
  const mistake = useStore(store, ({ mistakes }) => mistakes[key]);
  const isAdapters = useStore(store, (state) => isOfAdapter(state, field));
  const { set } = store.getState();
  const id = useId();
  const about = `${id}-about`;
  // Among all settings it is said once whose they are.
  if (isAdapters && explains) return null;
  return (
    <div className="field" title={explains ? undefined : plain(description)}>
      <label htmlFor={id} className={explains ? "mono" : ""}>
        {labelOf(field)}
      </label>
      {control === "switch" ? (
        <Switch id={id} checked={value === true} onCheckedChange={(on) => set(section, key, on)} />
      ) : control === "choice" ? (
        <select
          id={id}
          className="select"
          value={String(value)}
          onChange={(event) => set(section, key, event.target.value)}
        >
          {choices.map((choice) => (
            <option key={choice}>{choice}</option>
          ))}
        </select>
      ) : (
        <TypedField store={store} field={field} id={id} value={value} about={about} isAdapters={isAdapters} />
      )}
      <p id={about} className="about">
        {mistake && <span className="mistake">{mistake} </span>}
        {mistake === undefined && <FieldFaults store={store} name={key} />}
        {explains && <span className="quiet">{plain(description)}</span>}
      </p>
    </div>
  );
}

/** What the preview has found wrong with the setting. */
function FieldFaults({ store, name }: { store: StoreApi<PageState>; name: string }) {
  const targets = useStore(store, (state) => state.targets);
  if (!targets?.ok) return null;
  return targets.value.faults
    .filter((fault) => fault.key === name)
    .map((fault) => (
      <span key={fault.message} className={fault.isRefusal ? "mistake" : "caution"}>
        {faultWords(fault)}{" "}
      </span>
    ));
}

interface TypedFieldProps {
  readonly store: StoreApi<PageState>;
  readonly field: FormField;
  readonly id: string;
  readonly about: string;
  readonly value: Json;
  readonly isAdapters: boolean;
}

/** A value that is typed. What cannot be one stays as it was typed, and is said to be wrong. */
function TypedField({ store, field, id, about, value, isAdapters }: TypedFieldProps) {
  const { section, key, control, accepts, expected } = field;
  // What was typed holds until the value is changed from elsewhere.
  const [typed, setTyped] = useState<{ text: string; of: Json }>();
  const mistake = useStore(store, ({ mistakes }) => mistakes[key]);
  const { set, mistake: tell } = store.getState();
  const text = typed && (mistake !== undefined || sameJson(typed.of, value)) ? typed.text : writeValue(value);
  const type = (written: string) => {
    const parsed = parseValue(written);
    // One bare name is meant as a list of it: as a text it would be a pattern that matches only a module named so.
    const isName = typeof parsed === "string" && (/^\w+$/.test(parsed) || !accepts(parsed));
    const next = isName && accepts([parsed]) ? [parsed] : parsed;
    const isRight = accepts(next);
    setTyped({ text: written, of: isRight ? next : value });
    if (isRight) set(section, key, next);
    else tell(key, `Expected ${inForm(expected)}.`);
  };
  return (
    <TextField.Root
      id={id}
      aria-describedby={about}
      aria-invalid={mistake !== undefined}
      color={mistake ? "red" : undefined}
      inputMode={control === "number" ? "decimal" : "text"}
      placeholder={isAdapters ? "the adapter's" : placeholderOf(field)}
      disabled={isAdapters}
      spellCheck={false}
      autoComplete="off"
      value={isAdapters ? "" : text}
      onChange={({ target }) => type(target.value)}
    />
  );
}

/** Without the marks of the documents' Markdown. */
function plain(description: string): string {
  return description.replaceAll("`", "");
}

/** A run file's null is a field that is left empty. */
function inForm(expected: string): string {
  return expected.replace(/ or null$/, " or nothing");
}

/** What holds where nothing is typed. */
function placeholderOf({ key, default: fallback }: FormField): string {
  if (key === "eval_steps") return `${EVALUATED_SHARE}, where rows are held out`;
  return fallback === null ? "none" : writeValue(fallback);
}
