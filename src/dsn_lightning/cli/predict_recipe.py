"""A prediction, from a checkpoint and paths to lines: find, load, answer, write, draw."""

from dsn_lightning.cli.evaluation_output import wide_console
from dsn_lightning.cli.predict_output import Drawings, draw_missing
from dsn_lightning.cli.predict_summary import finish, print_done, print_effort, progress_bar
from dsn_lightning.config.load_predictor import answers_made_with, file_predictor
from dsn_lightning.config.predict_settings import PredictSettings
from dsn_lightning.prediction.inputs import find_videos
from dsn_lightning.prediction.output_folder import OutputFolder


def predict(settings: PredictSettings) -> int:
    """Answer for all videos that have no answer yet, and draw what is missing; return how many of both failed."""
    if settings.engine.name == "lightning":
        from dsn_lightning.cli.predict_lightning_recipe import predict_in_processes

        return predict_in_processes(settings)
    if settings.engine.name == "ray":
        from dsn_lightning.cli.predict_ray_recipe import predict_with_ray

        return predict_with_ray(settings)
    return predict_plainly(settings)


def predict_plainly(settings: PredictSettings) -> int:
    """Answer for one video after the other in this process; see `predict`."""
    paths = find_videos(settings.videos)
    answer = file_predictor(settings)
    output = OutputFolder(settings.folder)
    console = wide_console()
    with output.hold():
        output.begin(answers_made_with(settings, answer), engine=settings.engine.name)
        done = output.done()
        left = [path for path in paths if path not in done]
        print_done(len(paths) - len(left), paths, console)
        print_effort(answer, console)
        drawings = Drawings(answer, output, pictures=settings.pictures, overlay=settings.overlay)
        problems = draw_missing(drawings, drawings.missing_places(set(paths)), progress=settings.progress)
        with progress_bar(shown=settings.progress and bool(left)) as progress:
            for number, path in enumerate(progress.track(left, description="Answering"), start=len(done) + 1):
                found = answer(path)
                output.add(found)
                problems += drawings.draw(number, found)
        return finish(output, set(paths), problems, console)
