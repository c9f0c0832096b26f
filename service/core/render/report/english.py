"""The report in English."""

from service.core.render.report.texts import Texts

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
    unfinished="The run had not ended when this report was made: it tells what there was.",
    dataset="Dataset",
    tags="Tags",
    created="Created",
    started="Started",
    finished="Finished",
    epochs_done="Epochs",
    epochs_of="{done} of {total}",
    covered="This report covers {count} of the run's {total} epochs, {first} to {last}; "
    "epoch 0 is the untrained network.",
    last_accuracy="Test accuracy",
    at_epoch="{value} at epoch {epoch}",
    none_yet="This run has no epochs yet: there is nothing to be seen of it but what it was asked "
    "to do.",
    none_ever="This run ended before its first epoch was stored: there is nothing to be seen of it "
    "but what it was asked to do.",
    seen="What you see",
    seen_map="Every small picture is a map: it colours the places of one image from which the "
    "network of one epoch took evidence for the class that the image shows. Dark violet is little "
    "and yellow is much; each map is scaled to its own highest value.",
    seen_blank="A map is blank if its highest value before scaling is at most {epsilon}: the "
    "picture is then dimmed and hatched. There are four causes:",
    causes={
        "saturated": "saturated",
        "all-negative": "all-negative",
        "dead": "dead",
        "not-finite": "not finite",
    },
    cause_meanings={
        "saturated": "the gradient of the score vanished, as it does where softmax is so sure that "
        "nothing changes it;",
        "all-negative": "the weighted sum is nowhere positive, so that nothing is left of it;",
        "dead": "the layer has no activation for this image;",
        "not-finite": "the map is infinite or not a number, as it is where weights have diverged.",
    },
    curves="Curves",
    loss="Loss (nats)",
    accuracy="Accuracy",
    blank_share="Share of maps that are blank",
    train="training images",
    test="test images",
    epoch="epoch",
    curve_spoken="{label}: {first} at epoch {first_epoch}, {last} at epoch {last_epoch}, lowest "
    "{low}, highest {high}.",
    curve_empty="{label}: no values.",
    maps="Maps",
    maps_by="Maps by {title}",
    methods={},
    layer="layer {layer}",
    rows_and_columns="Rows are the images that the run watches, columns are epochs.",
    all_shown="Every epoch is shown.",
    some_shown="Of {total} epochs {shown} are shown, evenly spaced: one in every {step}, and the "
    "last.",
    sheet_alt="Contact sheet by {method}: {rows} images at {columns} epochs. Over all epochs of "
    "this report {blank} of {total} maps are blank ({causes}).",
    full_size="Full size",
    blanks="Blank maps",
    blanks_counted="Of all {epochs} epochs of this report, whether shown below or not; blank is a "
    "peak of at most {epsilon}.",
    method="Method",
    total="Maps",
    blank="Blank",
    share="Share",
    epochs="Epochs",
    epoch_head="Epoch",
    train_loss="Training loss",
    test_loss="Test loss",
    train_accuracy="Training accuracy",
    test_accuracy="Test accuracy",
    learning_rate="Learning rate",
    seconds="Seconds",
    blank_by="Blank, {method}",
    classes="Test accuracy by class at epoch {epoch}",
    class_="Class",
    spec="What the run was asked to do",
    spec_names="The names are those of the API and of camreel train --set.",
    made="How this was made",
    made_by="Camreel {version} made this file from run {id}. It holds all it shows: no script, and "
    "nothing that is fetched from elsewhere.",
    made_from="The last epoch told of is {epoch}; it was stored on {when}, and its checkpoint has "
    "the SHA-256 {checkpoint}.",
    made_maps="Maps are drawn over their images with the colours of {colormap}, each on its own "
    "scale, for the image's own class.",
    made_again="The same command gives the same file as long as the run is as it was:",
)
