from datetime import UTC, datetime, timedelta
from pathlib import Path

from dragonbelly.client import Client

with Client("http://127.0.0.1:8080") as client:
    client.put("a/photo.jpg", Path("photo.jpg"), content_type="image/jpeg", wait_copies=2)
    client.put("a/note.txt", b"gone tomorrow", expires=datetime.now(UTC) + timedelta(days=1))
    with client.open("a/photo.jpg") as file:  # seekable: only what is read is fetched
        file.seek(-100, 2)
        print(file.read())
    client.download("a/photo.jpg", "copy.jpg", resume=True)
    print(client.stat("a/photo.jpg").copies, [entry.path for entry in client.list("a/")])
    client.set("a/photo.jpg", attributes={"camera": "x100"}, copies=3)
    client.delete("a/note.txt")
