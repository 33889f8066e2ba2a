# Solves and installs by py-rattler, as pixi does: URL SPEC PREFIX CACHE SOURCE [MIRROR], where SOURCE is shards, zst
# or json, and a mirror is asked in the place of the URL, as by pixi's configuration.
# Prints a line for each package that was installed: file name, then what it depends on, as JSON.
import asyncio, json, os, sys

from rattler import Channel, Gateway, MatchSpec, Platform, SourceConfig, install, solve
from rattler.networking import Client, MirrorMiddleware

url, spec, prefix, cache, source, *mirror = sys.argv[1:]
client = Client([MirrorMiddleware({url: mirror})]) if mirror else None
config = SourceConfig(
    sharded_enabled=source == "shards", zstd_enabled=source == "zst", bz2_enabled=False
)


async def main():
    repodata = os.path.join(cache, "repodata")
    gateway = Gateway(cache_dir=repodata, default_config=config, client=client)
    platforms = [Platform("linux-64"), Platform("noarch")]
    records = await solve(
        sources=[Channel(url)],
        specs=[MatchSpec(spec)],
        gateway=gateway,
        platforms=platforms,
        virtual_packages=[],
    )
    await install(
        records=records,
        target_prefix=prefix,
        cache_dir=os.path.join(cache, "packages"),
        client=client,
        show_progress=False,
        platform=Platform("linux-64"),
    )
    for record in sorted(records, key=lambda record: record.file_name):
        print(record.file_name, json.dumps(record.depends))


asyncio.run(main())
sys.stdout.flush()
# It can abort while the interpreter ends.
os._exit(0)
