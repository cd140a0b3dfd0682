export function Switch(props: { label: string; on: boolean; onChange: (on: boolean) => void }) {
  return (
    <button
      type="button"
      role="switch"
      aria-checked={props.on}
      className="switch"
      onClick={() => props.onChange(!props.on)}
    >
      <span className="track" aria-hidden="true">
        <span className="knob" />
      </span>
      {props.label}
    </button>
  );
}
