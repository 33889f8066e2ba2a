# Reads a channel by python-tuf, as any client of TUF does: URL ROOT FOLDER TARGET…, where ROOT is the file of the first
# trusted root. Prints each target's name and length.
import os, sys

from tuf.ngclient import Updater

url, root, folder, *targets = sys.argv[1:]
os.makedirs(os.path.join(folder, "targets"), exist_ok=True)
updater = Updater(
    metadata_dir=folder,
    metadata_base_url=url + "tuf/",
    target_dir=os.path.join(folder, "targets"),
    target_base_url=url + "tuf/targets/",
    bootstrap=open(root, "rb").read(),
)
updater.refresh()
for name in targets:
    info = updater.get_targetinfo(name)
    if info is None:
        sys.exit(f"{name} is no target")
    path = updater.download_target(info)
    print(name, os.path.getsize(path))
