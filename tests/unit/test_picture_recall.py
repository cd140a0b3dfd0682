"""What a reader that knows everything finds among captions."""

from benchmarks.picture_recall import Shown, bound, drawn
from malmoi.synthetic.shapes import Placed, Scene, Thing

CIRCLE, STAR = Thing("red", "circle"), Thing("blue", "star", "large")


def picture(scene: Scene, *sides: float) -> Shown:
    return drawn(scene, [Placed(thing, 0.5, 0.5, side) for thing, side in zip(scene.things, sides, strict=True)])


def test_a_caption_fits_what_it_says_in_either_direction_and_not_more() -> None:
    scene = Scene((CIRCLE, STAR), relation="right")
    shown = picture(scene, 0.25, 0.45)
    turned = Scene((Thing("blue", "star"), Thing("red", "circle", "small")), relation="left", background="white")
    assert shown.likelihood(Shown.of(scene)) == shown.likelihood(Shown.of(turned)) == 2
    for other in (
        Scene((CIRCLE, STAR), relation="left"), Scene((CIRCLE, STAR), relation="right", background="grey"),
        Scene((Thing("red", "circle", "large"), STAR), relation="right"), Scene((STAR,)), Scene((STAR,), number=2),
    ):  # fmt: skip
        assert shown.likelihood(Shown.of(other)) == 0


def test_the_likeliest_caption_is_taken_and_equals_are_guessed_among() -> None:
    scenes = [Scene((CIRCLE,)), Scene((Thing("red", "circle", "small"),)), Scene((CIRCLE,))]
    texts = ["a red circle", "a small red circle", "one red circle"]
    rows = [
        (picture(scene, side), Shown.of(scene), {"en": text})
        for scene, side, text in zip(scenes, (0.25, 0.25, 0.45), texts, strict=True)
    ]
    # The first picture is small, so that the second caption is likelier; the last has two captions that fit equally.
    assert bound(rows, "en") == (0 + 1 + 1 / 2) / 3
    same = [(shown, said, {"en": "a red circle" if "small" not in t["en"] else t["en"]}) for shown, said, t in rows]
    assert bound(same, "en") == (0 + 1 + 1) / 3
    assert bound(same, "en", counting=True) == (1 / 2 + 1 / 2 + 1) / 3
