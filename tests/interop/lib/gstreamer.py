"""Plays a ladder in GStreamer's playbin3 and prints what came of it as one JSON document.

usage: gstreamer.py play|fail URL SECONDS HIGHEST LOWEST FRAMES PICTURE   (heights of 0: sound alone)
"""

import json
import sys
import time

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

STEP = 30.0


class Failure(Exception):
    pass


class Player:
    def __init__(self, url):
        self.frames = self.sound = self.height = 0
        self.ended = False
        self.demuxer = None
        self.pipeline = Gst.ElementFactory.make("playbin3", None)
        if self.pipeline is None:
            raise Failure("there is no playbin3")
        self.sinks = []
        for kind in ("video", "audio"):
            sink = Gst.ElementFactory.make("fakesink", None)
            sink.set_property("sync", True)
            sink.get_static_pad("sink").add_probe(
                Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM, self.probe, kind
            )
            self.pipeline.set_property(f"{kind}-sink", sink)
            self.sinks.append(sink)
        self.pipeline.connect("deep-element-added", self.added)
        self.pipeline.set_property("uri", url)
        self.bus = self.pipeline.get_bus()

    def added(self, _bin, _sub, element):
        if element.get_factory() and element.get_factory().get_name() == "hlsdemux2":
            self.demuxer = element
            # By default it holds the whole film before it is asked to switch.
            element.set_property("max-buffering-time", 3 * Gst.SECOND)

    def probe(self, _pad, info, kind):
        if info.type & Gst.PadProbeType.BUFFER:
            if kind == "video":
                self.frames += 1
            else:
                self.sound += 1
        else:
            event = info.get_event()
            if event.type == Gst.EventType.CAPS and kind == "video":
                known, height = event.parse_caps().get_structure(0).get_int("height")
                self.height = height if known else self.height
        return Gst.PadProbeReturn.OK

    def position(self):
        known, position = self.pipeline.query_position(Gst.Format.TIME)
        return position / Gst.SECOND if known else 0.0

    def until(self, what, test, seconds=STEP):
        deadline = time.monotonic() + seconds
        while not test():
            message = self.bus.timed_pop_filtered(20 * Gst.MSECOND, Gst.MessageType.ERROR | Gst.MessageType.EOS)
            if message and message.type == Gst.MessageType.ERROR:
                error, _ = message.parse_error()
                raise Failure(f"{what}: {error.message}")
            if message:
                self.ended = True
            if time.monotonic() > deadline:
                raise Failure(
                    f"{what}: not in {seconds} s; at {self.position():.2f} s, {self.frames} pictures, {self.height}p"
                )

    def heard_and_seen(self, video):
        frames, sound = self.frames, self.sound
        return lambda: (not video or self.frames > frames) and self.sound > sound

    def seek(self, seconds):
        self.ended = False
        flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.ACCURATE
        if not self.pipeline.seek_simple(Gst.Format.TIME, flags, int(seconds * Gst.SECOND)):
            raise Failure(f"seek to {seconds} s was refused")

    def save_picture(self, path):
        sample = self.sinks[0].get_property("last-sample")
        if sample is None:
            raise Failure("no picture to save")
        saver = Gst.parse_launch(
            "appsrc name=in ! videoconvert ! videoscale ! video/x-raw,width=800,height=450 ! pngenc"
            f' ! filesink location="{path}"'
        )
        source = saver.get_by_name("in")
        source.set_property("caps", sample.get_caps())
        source.set_property("format", Gst.Format.TIME)
        saver.set_state(Gst.State.PLAYING)
        source.emit("push-sample", sample)
        source.emit("end-of-stream")
        message = saver.get_bus().timed_pop_filtered(10 * Gst.SECOND, Gst.MessageType.EOS | Gst.MessageType.ERROR)
        saver.set_state(Gst.State.NULL)
        if message is None or message.type == Gst.MessageType.ERROR:
            raise Failure("the picture could not be saved")


def play(player, seconds, highest, lowest, frames, picture, checks):
    video = highest > 0

    def step(name, run):
        checks[name] = "fail"
        run()
        checks[name] = "pass"

    def start():
        player.pipeline.set_state(Gst.State.PLAYING)
        going = player.heard_and_seen(video)
        player.until("start", lambda: going() and player.position() > 0.5)

    def switch(height):
        bitrate = 1 if height == lowest else 100_000_000
        player.demuxer.set_property("connection-bitrate", bitrate)
        player.until(f"switch to {height}p", lambda: player.height == height)
        # A sink holds on to the picture before the one that it waits for.
        since = player.frames
        player.until(f"play on in {height}p", lambda: player.frames > since + 2)

    def to(where):
        player.seek(where)
        player.until(f"seek to {where} s", lambda: abs(player.position() - where) < 1.5)
        going = player.heard_and_seen(video)
        player.until(f"play on at {where} s", lambda: going() and player.position() > where + 0.2)

    def end():
        player.until("play to the end", lambda: player.ended)

    step("start", start)
    if highest != lowest:
        if player.demuxer is None:
            raise Failure("hlsdemux2 is not what plays")
        step("down", lambda: (switch(highest), switch(lowest)))
        step("up", lambda: switch(highest))
    else:
        checks["down"] = checks["up"] = "none"
    if video:
        player.save_picture(picture)

    def counted():
        since, at = player.frames, player.position()
        # As fast as it decodes.
        for sink in player.sinks:
            sink.set_property("sync", False)
        end()
        least = 0.95 * frames * (seconds - at) / seconds
        if player.frames - since < least:
            raise Failure(f"only {player.frames - since} of {least:.0f} pictures decoded")
        for sink in player.sinks:
            sink.set_property("sync", True)

    checks["frames"] = "fail"
    step("end", counted)
    checks["frames"] = "pass"
    step("middle", lambda: to(seconds / 2))

    def near_end():
        to(seconds - 1.5)
        end()

    step("near_end", near_end)
    checks["errors"] = "pass"


def main():
    mode, url, seconds, highest, lowest, frames, picture = sys.argv[1:]
    Gst.init(None)
    checks = {}
    error = None
    player = Player(url)
    try:
        if mode == "play":
            play(player, float(seconds), int(highest), int(lowest), int(frames), picture, checks)
        else:
            player.pipeline.set_state(Gst.State.PLAYING)
            player.until("no end", lambda: player.ended, float(seconds))
    except Failure as failure:
        error = str(failure)
    player.pipeline.set_state(Gst.State.NULL)
    print(json.dumps({"checks": checks, "error": error, "frames": player.frames}))


main()
