"""numpy arrays and scalars in pickles, as numpy 2.4.6 wrote them: the project has no other use for numpy."""

import pytest

from runs.payloads import Node, decode, to_json

MATRIX = {
    2: "gAJjbnVtcHkuX2NvcmUubXVsdGlhcnJheQpfcmVjb25zdHJ1Y3QKcQBjbnVtcHkKbmRhcnJheQpxAUsAhXECY19jb2RlY3MKZW5jb2RlCnEDWAEA"
    "AABicQRYBgAAAGxhdGluMXEFhnEGUnEHh3EIUnEJKEsBSwJLAoZxCmNudW1weQpkdHlwZQpxC1gCAAAAZjRxDImIh3ENUnEOKEsDWAEAAAA+cQ9O"
    "Tk5K/////0r/////SwB0cRBiiWgDWBIAAAA/w4AAAEAAAABAQAAAQMKAAABxEWgFhnESUnETdHEUYi4=",
    4: "gASVmwAAAAAAAACMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRDAWKUh5RS"
    "lChLAUsCSwKGlGgDjAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE+lE5OTkr/////Sv////9LAHSUYolDED/AAABAAAAAQEAAAECAAACUdJRiLg==",
    5: "gAWVhgAAAAAAAACME251bXB5Ll9jb3JlLm51bWVyaWOUjAtfZnJvbWJ1ZmZlcpSTlCiWEAAAAAAAAAA/wAAAQAAAAEBAAABAgAAAlIwFbnVtcHmU"
    "jAVkdHlwZZSTlIwCZjSUiYiHlFKUKEsDjAE+lE5OTkr/////Sv////9LAHSUYksCSwKGlIwBQ5R0lFKULg==",
}
ARRAYS = {
    "float64": "gASVagAAAAAAAACMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAZzY2FsYXKUk5SMBW51bXB5lIwFZHR5cGWUk5SMAmY4lImIh5RSlChLA4wB"
    "PJROTk5K/////0r/////SwB0lGJDCAAAAAAAAPg/lIaUUpQu",
    "words": "gASVkwAAAAAAAACMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRDAWKUh5RS"
    "lChLAUsChZRoA4wFZHR5cGWUk5SMAlUylImIh5RSlChLA4wBPJROTk5LCEsESwh0lGKJQxDkAAAAAAAAAGIAAABjAAAAlHSUYi4=",
    "dates": "gASVoQAAAAAAAACMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRDAWKUh5RS"
    "lChLAUsBhZRoA4wFZHR5cGWUk5SMAk04lImIh5RSlChLBIwBPJROTk5K/////0r/////SwBOKEMBc5RLAUsBSwF0lIaUdJRiiUMIAOELXgAAAACU"
    "dJRiLg==",
    "objects": "gASVmAAAAAAAAACMFm51bXB5Ll9jb3JlLm11bHRpYXJyYXmUjAxfcmVjb25zdHJ1Y3SUk5SMBW51bXB5lIwHbmRhcnJheZSTlEsAhZRDAWKU"
    "h5RSlChLAUsDhZRoA4wFZHR5cGWUk5SMAk84lImIh5RSlChLA4wBfJROTk5K/////0r/////Sz90lGKJXZQoTowBeJR9lIwBa5RLAXNldJRiLg==",
}
ARRAY = "numpy.ndarray"


def tree(text: str) -> Node:
    decoded = decode("py_pickle", text.encode())
    assert decoded.tree is not None
    assert decoded.problem == ""
    return decoded.tree


def fields(type: str, **values: object) -> dict[str, object]:
    return {"$type": type, "fields": values}


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_numpy_array_shows_dtype_shape_and_values(protocol: int) -> None:
    shape = {"$type": "tuple", "value": [2, 2]}
    shown = to_json(tree(MATRIX[protocol]))
    assert shown == fields(ARRAY, dtype=">f4", shape=shape, values=[1.5, 2.0, 3.0, 4.0])


def test_numpy_scalars_texts_times_and_objects_are_shown() -> None:
    shown = {name: to_json(tree(text)) for name, text in ARRAYS.items()}
    two, one, three = ({"$type": "tuple", "value": [size]} for size in (2, 1, 3))
    assert shown == {
        "float64": {"$type": "numpy.float64", "value": 1.5},
        "words": fields(ARRAY, dtype="<U2", shape=two, values=["ä", "bc"]),
        "dates": fields(
            ARRAY, dtype="<M8[s]", shape=one, values=[{"$type": "numpy.datetime64", "value": "1577836800 s"}]
        ),
        "objects": fields(ARRAY, dtype="O8", shape=three, values=[None, "x", {"k": 1}]),
    }
