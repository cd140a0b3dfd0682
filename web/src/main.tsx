import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { LanguageProvider } from "./text";
import "./styles/base.css";
import "./styles/ui.css";
import "./styles/frame.css";
import "./styles/chat.css";
import "./styles/markdown.css";
import "./styles/teach.css";
import "./styles/versions.css";
import "./styles/data.css";
import "./styles/draw.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <LanguageProvider>
      <App />
    </LanguageProvider>
  </StrictMode>,
);
