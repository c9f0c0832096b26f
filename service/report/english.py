"""The report in English."""

from service.report.texts import Texts

ENGLISH = Texts(
    language="en",
    report="Report",
    run="Run {id}",
    contents="Contents",
    status="Status",
    statuses={
        "queued": "queued",
        "running": "running",
        "succeeded": "succeeded",
        "failed": "failed",
        "cancelled": "cancelled",
    },
    run_in_progress=(
        "The run had not ended when this report was created. It shows the epochs up to that point."
    ),
    dataset="Dataset",
    tags="Tags",
    created="Created",
    started="Started",
    finished="Finished",
    epochs_completed="Epochs",
    epochs_of_total="{done} of {total}",
    epochs_covered=(
        "This report covers {count} of the run's {total:epoch|epochs}, {first} to {last}. Epoch 0 "
        "is the untrained network."
    ),
    last_test_accuracy="Test accuracy",
    value_at_epoch="{value} at epoch {epoch}",
    no_epochs_yet="This run has no epochs yet. Only its settings are shown.",
    ended_without_epochs=(
        "This run ended before its first epoch was stored. Only its settings are shown."
    ),
    legend="How to read the maps",
    legend_map=(
        "Each small picture is a class activation map. It colors the regions of one image that "
        "the network at one epoch used as evidence for the image's class. Yellow means much "
        "evidence; where there is none, the image shows without color. All maps of a row share one "
        "scale, so that maps that fade during training look faint."
    ),
    legend_strength=(
        "The bar below a picture shows the maximum of its map before scaling, on a logarithmic "
        "scale: empty at {weakest}, full at {strongest}."
    ),
    legend_blank=(
        "A map is blank if its maximum before scaling is at most {epsilon}. Its picture is then "
        "dimmed and hatched. There are four causes:"
    ),
    cause_names={
        "saturated": "saturated",
        "all-negative": "all-negative",
        "dead": "dead",
        "not-finite": "not finite",
    },
    cause_descriptions={
        "saturated": "the gradient of the score vanished, as it does where softmax is saturated;",
        "all-negative": "the weighted sum is nowhere positive, so ReLU sets it all to zero;",
        "dead": "the layer has no activation for this image;",
        "not-finite": (
            "the map contains infinite values or NaN, as it does where the weights have diverged."
        ),
    },
    findings="Findings",
    no_findings="Nothing that was examined is conspicuous.",
    evidence="Evidence",
    evidence_names={
        "exchange_share": "share of the evidence",
        "recall_lost": "recall lost",
        "images_turned": "other images turned into the class",
    },
    evidence_value="{value} (threshold {threshold}, n = {n})",
    value_without_threshold="{value} (n = {n})",
    epochs_of_finding="epochs {first} to {last}",
    refutation="What would refute it: ",
    exchange_map="Exchange map",
    exchange_map_note=(
        "Which pixels would turn other images into each class. A single place away from the "
        "objects is a shortcut; strokes are what the class consists of."
    ),
    class_means="Mean maps of the classes",
    class_means_note="Red speaks for the class, blue against it.",
    curves="Curves",
    loss="Loss (nats)",
    accuracy="Accuracy",
    blank_fraction="Fraction of maps that are blank",
    train_images="training images",
    test_images="test images",
    epoch_axis="epoch",
    curve_description=(
        "{label}: {first} at epoch {first_epoch}, {last} at epoch {last_epoch}, lowest {low}, "
        "highest {high}."
    ),
    curve_empty="{label}: no values.",
    training_accuracy_note=(
        "The accuracy on training images is the mean over an epoch while the weights change and "
        "dropout is active, so it can be below the accuracy on test images."
    ),
    axis_start="The axis begins at {low}; the first epochs are below.",
    maps="Maps",
    maps_of_method="Maps of {title}",
    method_titles={},
    layer="layer {layer}",
    sheet_axes="Rows are the run's probe images, columns are epochs.",
    all_epochs_shown="Every epoch is shown.",
    sampled_epochs_shown=(
        "Showing {shown} of {total:epoch|epochs}: every {step} epochs, and the last."
    ),
    sheet_alt=(
        "Contact sheet of {method}: {rows:image|images} at {columns:epoch|epochs}. Over all epochs "
        "of this report, {blank} of {total:map|maps} blank ({causes})."
    ),
    full_size="Full size",
    blank_maps="Blank maps",
    blank_count_note=(
        "Counted over {epochs:epoch|epochs} of this report, including those not shown below. A map "
        "is blank if its peak is at most {epsilon}."
    ),
    method="Method",
    map_count="Maps",
    blank="Blank",
    fraction="Fraction",
    epochs="Epochs",
    epoch_column="Epoch",
    train_loss="Training loss",
    test_loss="Test loss",
    train_accuracy="Training accuracy",
    test_accuracy="Test accuracy",
    learning_rate="Learning rate",
    seconds="Seconds",
    blank_of_method="Blank, {method}",
    class_accuracy="Test accuracy by class at epoch {epoch}",
    class_column="Class",
    settings="Settings",
    settings_note="The names are those of the API and of camreel train --set.",
    provenance="How this report was created",
    generator=(
        "Camreel {version} created this file from run {id}. It is self-contained: it has no "
        "scripts and loads nothing."
    ),
    last_epoch_note=(
        "The last epoch in this report is {epoch}. It was stored on {when}; the SHA-256 of its "
        "checkpoint is {checkpoint}."
    ),
    map_rendering_note=(
        "Maps are drawn over their images with the colormap {colormap}, with one scale per "
        "row, for the image's own class."
    ),
    command_note="As long as the run does not change, this command writes the same file:",
)
