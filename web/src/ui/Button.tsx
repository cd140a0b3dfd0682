import type { ButtonHTMLAttributes, ReactNode } from "react";
import { Icon, type IconName } from "./Icon";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  look?: "main" | "plain" | "danger";
  icon?: IconName;
  children?: ReactNode;
}

export function Button({ look, icon, children, className, ...rest }: Props) {
  const classes = ["button", look, children ? "" : "icon", className].filter(Boolean).join(" ");
  return (
    <button type="button" {...rest} className={classes}>
      {icon && <Icon name={icon} size={look === "plain" ? 16 : 18} />}
      {children}
    </button>
  );
}
