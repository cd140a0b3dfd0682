import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The bundle is committed: nothing in it may depend on the machine or the day that built it.
export default defineConfig({
  plugins: [react()],
  build: {
    outDir: "../src/malmoi/serve/static",
    emptyOutDir: true,
    target: ["chrome123", "firefox121", "safari17.5"],
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    license: { fileName: "licenses.md" },
  },
  server: {
    proxy: { "/api": "http://127.0.0.1:8000", "/v1": "http://127.0.0.1:8000" },
  },
});
