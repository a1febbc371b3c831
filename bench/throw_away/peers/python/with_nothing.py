"""What pytest takes for itself."""


def test_nothing():
    pass
