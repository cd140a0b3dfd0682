"""Text <-> ids (`bpe`), and conversations -> ids with the mask of what is trained on (`chat_template`).

All other modules serve these two: `jinja`, `message_loop` and `template_clock` run the chat templates of Hugging Face
folders, `tagged_text`, `rendered_chat` and `chat_encoder` find who said what in their output, `long_texts` keeps Ctrl-C
working, and `report` measures compression.
"""
