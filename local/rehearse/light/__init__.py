"""Devices that weigh little: the reference agent on asyncio sockets of one shared loop, hundreds in one process."""
