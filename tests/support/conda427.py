# Lets conda 4.2.7 of 2016 run under a Python of today: names that the standard library has moved or dropped
# since. Python loads it on its own, by the .pth file beside it.
import collections
import collections.abc
import platform

for name in collections.abc.__all__:
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))

if not hasattr(platform, "linux_distribution"):
    platform.linux_distribution = lambda *args, **kwargs: ("Linux", "", "")
