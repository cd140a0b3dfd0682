import { createContext, useContext, useEffect, useMemo, type ReactNode } from "react";
import { usePreference } from "../app/preferences";
import { en } from "./en";
import { ko } from "./ko";

export type Language = "en" | "ko";
export type Key = keyof typeof en;

type Names<S> = S extends `${string}{${infer Name}}${infer Rest}` ? Name | Names<Rest> : never;
type Values<K extends Key> = [Names<(typeof en)[K]>] extends [never]
  ? []
  : [values: Record<Names<(typeof en)[K]>, string | number>];

/** A text in the page's language, its `{names}` filled in. */
export type Translate = <K extends Key>(key: K, ...values: Values<K>) => string;

const TABLES: Record<Language, Record<Key, string>> = { en, ko };

const LanguageContext = createContext<[Language, (language: Language) => void]>(["en", () => undefined]);

export function LanguageProvider({ children }: { children: ReactNode }) {
  const preset: Language = navigator.language.startsWith("ko") ? "ko" : "en";
  const [language, setLanguage] = usePreference<Language>("language", preset);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo(() => [language, setLanguage] as [Language, typeof setLanguage], [language, setLanguage]);
  return <LanguageContext value={value}>{children}</LanguageContext>;
}

export const useLanguage = () => useContext(LanguageContext);

export function useText(): Translate {
  const [language] = useLanguage();
  return useMemo(() => {
    const table = TABLES[language];
    return (key, ...values) =>
      table[key].replace(/\{(\w+)\}/g, (_, name: string) => {
        const value = (values[0] as Record<string, string | number>)[name]!;
        return typeof value === "number" ? value.toLocaleString(language) : value;
      });
  }, [language]);
}
