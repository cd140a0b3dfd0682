"""Model folders and files of other programs: Hugging Face (`folder`, `huggingface`, `families`) and GGUF (`gguf`)."""
