"""Makes corpus.txt and corpus.valid.txt from the lower-cased TinyStories text that README.md names.

    python3 data/make_corpus.py tinystories_lower.txt

Repairs quotation marks that were decoded wrongly at the source, puts one paragraph on a line and one blank line
between stories, and leaves out stories that are not ASCII, not complete, or too long to be one story.
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
VALID_STORIES = 200
# UTF-8 read as Windows-1252, as the source has it, and what was meant.
MOJIBAKE = {"â€œ": '"', "â€\u009d": '"', "â€": '"', "â€™": "'", "â€˜": "'", "â€“": "-", "â€”": "-", "â€¦": "..."}
ALWAYS_OPENING = re.compile(r"once upon a time|once there (was|were|lived)")
OPENING = re.compile(
    r"(once|one (day|morning|night|evening|sunny)|there (was|were|lived)|long ago|in a )\b"
    r"|[a-z]+ and [a-z]+ (are|were|liked?|loved?|lived?) |[a-z]+ (likes?|liked|loves?|loved|is an?|was an?) ")
LONGEST_STORY = 4000  # characters; anything longer is several stories whose borders were lost


def repaired(text):
    for wrong in sorted(MOJIBAKE, key=len, reverse=True):
        text = text.replace(wrong, MOJIBAKE[wrong])
    return text


def stories(text):
    """Paragraphs of one story after another. At the source, most stories start on the line directly after the
    last line of the one before; some stories have their paragraphs on adjacent lines too, hence the words."""
    story, after_text = [], False
    for line in text.split("\n"):
        line = " ".join(line.split())
        if story and (ALWAYS_OPENING.match(line) or (after_text and OPENING.match(line))):
            yield story
            story = []
        if line:
            story.append(line)
        after_text = bool(line)
    # The last one is cut off at the source.


def main():
    text = repaired(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    kept = [story for story in stories(text) if all(line.isascii() for line in story)]
    kept = [story for story in kept if story[-1][-1] in '.!?"' and len("\n".join(story)) <= LONGEST_STORY]
    every = len(kept) // VALID_STORIES
    valid = kept[::every][:VALID_STORIES]
    held_out = {id(story) for story in valid}
    train = [story for story in kept if id(story) not in held_out]
    for name, part in (("corpus.txt", train), ("corpus.valid.txt", valid)):
        content = "\n\n".join("\n".join(story) for story in part) + "\n"
        (HERE / name).write_text(content, encoding="utf-8")
        print(f"{name}: {len(part)} stories, {len(content)} bytes")


if __name__ == "__main__":
    main()
