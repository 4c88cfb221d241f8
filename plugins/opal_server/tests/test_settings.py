"""The settings of all rooms are shown by `cabochon config`."""

from __future__ import annotations

from cabochon_opal_server.all_settings import ROOMS, AllServerSettings


def test_no_room_hides_a_setting_of_another() -> None:
    of_rooms = [field.validation_alias for room in ROOMS for field in room.model_fields.values()]
    shown = [field.validation_alias for field in AllServerSettings.model_fields.values()]
    assert {str(name) for name in of_rooms} == {str(name) for name in shown}
    assert len(shown) == len(of_rooms)
