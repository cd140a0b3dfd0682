import { useLanguage, useText } from "../text";
import { Button } from "../ui/Button";
import { isDark, useTheme } from "./theme";

export function LanguageButton() {
  const [language, setLanguage] = useLanguage();
  const other = language === "ko" ? "en" : "ko";
  return (
    <Button look="plain" lang={other} onClick={() => setLanguage(other)}>
      {other === "ko" ? "한국어" : "English"}
    </Button>
  );
}

export function ThemeButton() {
  const t = useText();
  const [theme, setTheme] = useTheme();
  const dark = isDark(theme);
  return (
    <Button
      look="plain"
      icon={dark ? "sun" : "moon"}
      aria-label={dark ? t("theme.light") : t("theme.dark")}
      title={dark ? t("theme.light") : t("theme.dark")}
      onClick={() => setTheme(dark ? "light" : "dark")}
    />
  );
}
