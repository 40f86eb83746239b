import json

from spinelab.train.curves import draw_curves, read_curves


def write(path, rows):
    lines = ["step,seconds,losses"]
    for step, losses in rows:
        lines.append(f'{step},1.0,"{json.dumps(losses)}"'.replace('"{', "\0").replace('}"', "\1"))
    text = "\n".join(lines).replace('"', '""').replace("\0", '"{').replace("\1", '}"')
    path.write_text(text + "\n", encoding="utf-8")


def test_curves_come_by_loss_and_a_repeated_step_counts_once(tmp_path):
    write(
        tmp_path / "locate.csv",
        [(20, {"heat": 2.0}), (40, {"heat": 9.0, "level": 3.0}), (40, {"heat": 1.0, "level": 2.5})],
    )
    assert read_curves(tmp_path / "locate.csv") == {"heat": [(20, 2.0), (40, 1.0)], "level": [(40, 2.5)]}


def test_the_picture_is_drawn_of_what_is_there(tmp_path):
    assert draw_curves(tmp_path) is None
    write(tmp_path / "outline.csv", [(20, {"dice": 0.6}), (40, {"dice": 0.4})])
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
