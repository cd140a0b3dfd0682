import { Component, type ReactNode } from "react";
import { useText } from "../text";
import { Button } from "../ui/Button";

/** Shows a page; one that breaks leaves the frame, and a way out, in place of nothing. */
export class Guarded extends Component<{ path: string; children: ReactNode }, { broken: boolean }> {
  override state = { broken: false };

  override componentDidUpdate({ path }: { path: string }) {
    if (path !== this.props.path && this.state.broken) this.setState({ broken: false });
  }

  static getDerivedStateFromError() {
    return { broken: true };
  }

  override render() {
    return this.state.broken ? <Broken /> : this.props.children;
  }
}

function Broken() {
  const t = useText();
  return (
    <div className="page">
      <div className="notice warn" role="alert">
        <span>{t("fault.broken_page")}</span>
        <Button onClick={() => location.reload()}>{t("retry")}</Button>
      </div>
    </div>
  );
}
