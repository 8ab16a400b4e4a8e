"""Composition only: one FunctionApp, one blueprint per module of ``functions/``."""

import azure.functions as func

from functions import (
    delete_primary,
    invoke_reprovision_job,
    issue_certificate,
    on_certificate_event,
    report_poisoned,
    resume_rollovers,
    rollover,
    rollovers,
    stage_hub_thumbprint,
    sweep_certificates,
    upload_secondary,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for module in (
    on_certificate_event,
    issue_certificate,
    upload_secondary,
    stage_hub_thumbprint,
    invoke_reprovision_job,
    delete_primary,
    resume_rollovers,
    sweep_certificates,
    report_poisoned,
    rollovers,
    rollover,
):
    app.register_functions(module.bp)
