import { type CSSProperties, useId } from "react";
import { strengthWords } from "./format.ts";

interface StrengthProps {
  readonly label: string;
  /** Of what, for whoever hears the name alone. */
  readonly about: string;
  readonly value: number;
  readonly onChange: (value: number) => void;
  /** Given where something follows once the slider rests. */
  readonly onRest?: () => void;
}

const MOST = 2;
const STEP = 0.05;

/** How much of an adapter counts: 0 % is the base, 100 % the adapter as it was trained. */
export function Strength({ label, about, value, onChange, onRest }: StrengthProps) {
  const id = useId();
  const words = strengthWords(value);
  return (
    <div className="strength">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="range"
        min={0}
        max={MOST}
        step={STEP}
        value={value}
        aria-label={`${label}: ${about}`}
        aria-valuetext={words}
        style={{ "--filled": `${(100 * value) / MOST}%` } as CSSProperties}
        onChange={({ target }) => onChange(Number(target.value))}
        onPointerUp={onRest}
        onKeyUp={onRest}
      />
      <output htmlFor={id}>{words}</output>
    </div>
  );
}
