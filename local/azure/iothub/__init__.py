"""IoT Hub: device identities, twins, direct methods, jobs, queries, and the devices' MQTT connections."""

from local.azure.iothub.hub import Hub

__all__ = ["Hub"]
