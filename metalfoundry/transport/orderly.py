"""paramiko's end of a connection, which says nothing on a channel that it has closed.

paramiko makes a packet of a channel's data under the channel's lock and sends it without: where another thread closes
the channel between the two, the data goes after the close. For that sshd ends the whole connection, with all that
others run over it ("data packet referred to nonexistent channel"). It does not matter who closed first: the machine
behind a forwarded channel, at its reboot, or our end of it.
"""

from __future__ import annotations

import struct

import paramiko
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)

_ON_OPEN_CHANNELS = (MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_REQUEST, MSG_CHANNEL_WINDOW_ADJUST)
_HEAD = struct.Struct(">BI")  # type of message, the channel's number at the other end


class OrderlyTransport(paramiko.Transport):
    """A Transport that drops what comes too late for its channel; whoever sent it learns of the close by reading."""

    def _send_message(self, data: paramiko.Message) -> None:
        # What channels say comes here one after the other (`clear_to_send_lock`), and a channel is marked as closed
        # before its close comes, so nothing gets between this look and the sending.
        packet = data.asbytes()
        if packet[0] in _ON_OPEN_CHANNELS and not self._is_open(_HEAD.unpack_from(packet)[1]):
            return
        super()._send_message(data)  # type: ignore[misc]

    def _is_open(self, number: int) -> bool:
        channels: list[paramiko.Channel] = self._channels.values()  # type: ignore[attr-defined]
        return any(channel.active and channel.remote_chanid == number and not channel.closed for channel in channels)
