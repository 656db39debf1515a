import type { Failure } from "../worker/api.ts";

export function Problem({ failure, title }: { failure: Failure; title: string }) {
  return (
    <div role="alert" className="problem">
      <strong>{title}</strong>
      <p>{failure.message}</p>
      {failure.remedy && <p className="remedy">{failure.remedy}</p>}
    </div>
  );
}
