"""Composition only: one FunctionApp, one blueprint per module of ``functions/``."""

import azure.functions as func

from functions import (
    allow,
    approve,
    breach,
    cancel,
    delete_primary,
    disable_enrollment,
    disallow,
    enable_enrollment,
    invoke_reprovision_job,
    issue_certificate,
    on_certificate_event,
    on_connection_failure,
    remove_hub_registration,
    report_poisoned,
    restore_twin,
    resume_rollovers,
    retry,
    rollover,
    rollovers,
    stage_hub_thumbprint,
    sweep_certificates,
    upload_secondary,
    verify_containment,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
for module in (
    on_certificate_event,
    on_connection_failure,
    breach,
    disable_enrollment,
    remove_hub_registration,
    verify_containment,
    issue_certificate,
    upload_secondary,
    stage_hub_thumbprint,
    invoke_reprovision_job,
    delete_primary,
    enable_enrollment,
    restore_twin,
    resume_rollovers,
    sweep_certificates,
    report_poisoned,
    rollovers,
    rollover,
    approve,
    cancel,
    retry,
    disallow,
    allow,
):
    app.register_functions(module.bp)
